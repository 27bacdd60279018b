"""omni-embed-nemotron-3b: the mean over the whole prompt of a decoder that looks both ways.

What is sought and what it is sought in are told apart by a prefix: sounds are passages and texts are queries, unless
`instruction=` says otherwise ("query: ", "passage: ").

The published code looks both ways only without padding on newer versions of transformers; here it always does.

Source: the model card and configuration of nvidia/omni-embed-nemotron-3b; spec/models.md 1.3, spec/recipes.md A.7.
"""

from .chat import SOUND, user
from .recipe import Recipe

RECIPES = (
    Recipe(
        name="omni-embed-nemotron",
        source="model card of nvidia/omni-embed-nemotron-3b",
        backbones=("nvomniembed",),
        audio_template=user("{instruction}" + SOUND),
        text_template=user("{instruction}{text}"),
        default_audio_instruction="passage: ",
        default_text_instruction="query: ",
        pooling="mean",
        attention="bidirectional",
        max_audio_s=128.0,
        long_audio="truncate",
        feature_window_s=128.0,
        licence="NVIDIA OneWay Noncommercial, Qwen Research",
    ),
)
