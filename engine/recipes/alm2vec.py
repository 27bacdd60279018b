"""ALM2Vec: MiDashengLM with an instruction before the content; the state of the token that ends the input is the vector.

Published are the two instructions, the backbone and that the end token's state is projected. The rest is not, and stands
here as a default that a `harken.json` beside the weights overrides, field by field:

    layout        system = instruction, user = content, then the assistant's turn: the layout of the embedding model whose
                  standard instruction ALM2Vec shares. A question comes before the sound it asks about.
    end token     <|endoftext|>
    projection    none; a linear layer `projection` in heads.safetensors is used with
                  {"recipe": "alm2vec", "overrides": {"audio_head": "projection", "text_head": "projection"}}
    long sounds   cut after 30 s, the longest that was trained on

Source: ALM2Vec, arXiv 2606.30682, and its README; spec/recipes.md D.1, D.2 and J.
"""

from .recipe import Recipe

# The instruction of a query that asks a question about a sound; documents keep the default.
QUERY_INSTRUCTION = (
    "Based on the question asked in the text query and context in the audio query, retrieve the relevant text document "
    "associated with that question."
)
DOCUMENT_INSTRUCTION = "Represent the user's input."
_LAYOUT = (
    "<|im_start|>system\n{{instruction}}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
    "<|endoftext|>"
)
_SOUND = "<|audio_bos|>{audio}<|audio_eos|>"

RECIPES = (
    Recipe(
        name="alm2vec",
        source="ALM2Vec, arXiv 2606.30682",
        backbones=("midashenglm",),
        audio_template=_LAYOUT.format(content=_SOUND),
        text_template=_LAYOUT.format(content="{text}"),
        audio_text_template=_LAYOUT.format(content="{text}" + _SOUND),
        default_audio_instruction=DOCUMENT_INSTRUCTION,
        default_text_instruction=DOCUMENT_INSTRUCTION,
        pooling="last",
        max_audio_s=30.0,
        long_audio="truncate",
        licence="CC BY-NC 4.0",
        notes="Layout, end token and projection are not published; see the module.",
    ),
)
