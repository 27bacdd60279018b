"""e5-omni: the state at an end-of-text token behind the assistant's opening; queries begin with `Query: `.

The model card prompts sounds, and texts that are searched in, bare; texts that search get `Query: `. Here a text is a query
unless the caller gives another instruction, so a text to be searched in is embedded with the instruction "".

Source: e5-omni, arXiv 2601.03666, and the usage on its model card.
"""

from dataclasses import replace

from .chat import ASSISTANT, SOUND, user
from .recipe import Recipe

_END = ASSISTANT + "<|endoftext|>"

_E5_7B = Recipe(
    name="e5-omni-7b",
    source="e5-omni, arXiv 2601.03666, model card",
    backbones=("qwen2_5_omni_thinker", "qwen2_5_omni"),
    audio_template=user(SOUND) + _END,
    text_template=user("{instruction}{text}") + _END,
    audio_text_template=user("{text}" + SOUND) + _END,
    default_text_instruction="Query: ",
    pooling="last",
    max_audio_s=300.0,
    long_audio="truncate",
    licence="MIT; base Qwen2.5-Omni-7B: Apache-2.0",
    notes="Where a text stands beside a sound is not published: it stands before it here.",
)

RECIPES = (
    _E5_7B,
    replace(_E5_7B, name="e5-omni-3b", licence="MIT; base Qwen2.5-Omni-3B: Qwen Research"),
)
