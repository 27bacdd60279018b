"""AuroLA: the state at the last position of a prompt that asks for one word.

The release pools the position before its token `<emb>`, which is the line's end after `assistant`; nothing from there on can
change it, so the prompt ends there. The prompts are those of training and evaluation; the README's lack the line's end
before the sound's request and the blank at the end. The paper's differ again.

Clips are limited as in the released evaluation, which hears whatever the checkpoint's features hold (300 s); training cut
clips at 30 s and padded them to 2 s, and cut texts to 480 tokens, which evaluation does not.

Source: AuroLA, arXiv 2602.18010, and its release; spec/recipes.md C.1 to C.3.
"""

from dataclasses import replace

from .chat import ASSISTANT, SOUND, user
from .recipe import Recipe

_AUROLA_3B = Recipe(
    name="aurola-3b",
    source="AuroLA, arXiv 2602.18010",
    backbones=("qwen2_5_omni_thinker", "qwen2_5_omni"),
    audio_template=user(SOUND + "\nSummarize above audio in one word: ") + ASSISTANT,
    text_template=user("{text}\nSummarize above sentence in one word: ") + ASSISTANT,
    audio_text_template=user(SOUND + "{text}\nSummarize above audio and sentence in one word: ") + ASSISTANT,
    pooling="last",
    max_audio_s=300.0,
    long_audio="truncate",
    licence="not stated; base Qwen2.5-Omni-3B: Qwen Research",
)

RECIPES = (
    _AUROLA_3B,
    replace(_AUROLA_3B, name="aurola-7b", licence="not stated; base Qwen2.5-Omni-7B: Apache-2.0"),
)
