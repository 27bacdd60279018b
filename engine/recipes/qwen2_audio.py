"""Qwen2-Audio as it comes: a chat prompt and the mean over it. A starting point for training, not a published system.

Source: own; layout and limit of Qwen/Qwen2-Audio-7B, spec/models.md 1.5.
"""

from .chat import SOUND, user
from .recipe import Recipe

RECIPES = (
    Recipe(
        name="qwen2-audio",
        source="own",
        backbones=("qwen2_audio",),
        audio_template=user(SOUND),
        text_template=user("{text}"),
        audio_text_template=user(SOUND + "{text}"),
        pooling="mean",
        max_audio_s=30.0,
        long_audio="truncate",
        licence="base Qwen2-Audio-7B: Apache-2.0",
    ),
)
