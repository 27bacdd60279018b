"""LCO-Embedding-Omni: the state at the last position of a prompt that asks for one word.

The published example leaves vectors as long as they come and compares them by cosine; here they have unit length.

Source: the model card of LCO-Embedding-Omni, spec/models.md 1.4.
"""

from dataclasses import replace

from .chat import ASSISTANT, SOUND, user
from .recipe import Recipe

_LCO_3B = Recipe(
    name="lco-embedding-3b",
    source="model card of LCO-Embedding-Omni-3B",
    backbones=("qwen2_5_omni_thinker", "qwen2_5_omni"),
    audio_template=user(SOUND + "\nSummarize the above audio in one word:") + ASSISTANT,
    text_template=user("{text}\nSummarize the above text in one word:") + ASSISTANT,
    pooling="last",
    max_audio_s=300.0,
    long_audio="truncate",
    licence="see the model card; base Qwen2.5-Omni-3B: Qwen Research",
)

RECIPES = (
    _LCO_3B,
    replace(
        _LCO_3B,
        name="lco-embedding-7b",
        source="model card of LCO-Embedding-Omni-7B",
        licence="see the model card; base Qwen2.5-Omni-7B: Apache-2.0",
    ),
)
