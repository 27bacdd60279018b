"""Omni-Embed-Audio: the mean over the whole prompt, then one head for sounds and one for text.

The paper prompts sounds with `passage:`; the released code leaves sounds bare, and so does this. A text is cut where its
prompt would pass the release's limit of tokens. The pooled state is scaled to unit length before the head, as at the
release's inference.

Nemotron's decoder looks one way or both in the released code, depending on transformers' version and on padding. The
published figures were reproduced with single clips, which were causal; so causal is what stands here.

Source: OEA, arXiv 2604.18360, and its release; spec/recipes.md A.7, B.1 to B.3.
"""

from dataclasses import replace

from .chat import SOUND, user
from .recipe import Recipe

# Tokens of the text's prompt without the text.
_AROUND_TEXT = 18

_QWEN_3B = Recipe(
    name="oea-qwen3b",
    source="OEA, arXiv 2604.18360",
    backbones=("qwen2_5_omni", "qwen2_5_omni_thinker"),
    audio_template=user(SOUND),
    text_template=user("query:{text}"),
    pooling="mean",
    attention="causal",
    normalize_before_head=True,
    audio_head="audio_head",
    text_head="text_head",
    max_audio_s=128.0,
    long_audio="truncate",
    feature_window_s=128.0,
    max_text_tokens=512 - _AROUND_TEXT,
    strip_text_end=True,
    licence="code MIT, weights not stated; base Qwen2.5-Omni-3B: Qwen Research",
    notes="Wants the heads and the adapter that `harken convert oea` takes out of the published .pt file.",
)

RECIPES = (
    _QWEN_3B,
    replace(
        _QWEN_3B,
        name="oea-qwen7b",
        max_text_tokens=2048 - _AROUND_TEXT,
        licence="code MIT, weights not stated; base Qwen2.5-Omni-7B: Apache-2.0",
    ),
    replace(
        _QWEN_3B,
        name="oea-nemo3b",
        backbones=("nvomniembed",),
        licence="code MIT, weights not stated; base omni-embed-nemotron-3b: NVIDIA OneWay Noncommercial, Qwen Research",
    ),
)
