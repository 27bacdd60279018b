"""A recipe: everything that makes a published system that system, as data.

The engine reads these fields and nothing else; if a system seems to need an `if` on its name, a field is missing here.
A user's own recipe is a JSON file of the same fields (`Recipe.from_json`).

Source: own; the fields are those in which the systems of spec/recipes.md differ.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import ModelError
from .fields import from_dict, from_json

Pooling = Literal["mean", "mean-content", "last"]
Attention = Literal["causal", "bidirectional"]
LongAudio = Literal["error", "truncate", "window-mean", "chunk-attention"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one system prompts its model, pools its hidden states and shapes its vectors."""

    name: str
    # Where the facts come from: a paper, a model card, or "own".
    source: str
    # The `model_type` values of config.json that this recipe can run on.
    backbones: tuple[str, ...]
    # Prompt templates. {audio} is where the audio tokens go, {text} the sentence, {instruction} the instruction.
    # None: the recipe has no such input.
    audio_template: str | None
    text_template: str | None
    audio_text_template: str | None = None
    # Used for {instruction} when the caller gives none.
    default_audio_instruction: str = ""
    default_text_instruction: str = ""
    # Which hidden states become the vector: all tokens, the tokens of {audio}/{text} alone, or the last token.
    pooling: Pooling = "mean"
    attention: Attention = "causal"
    # L2-normalise the pooled state before the head, as some systems do at inference.
    normalize_before_head: bool = False
    # Names of the heads in heads.safetensors for each kind of input; None: the pooled state is the vector.
    audio_head: str | None = None
    text_head: str | None = None
    # Scale the vector to unit length.
    normalize: bool = True
    # Longest clip in seconds, and what happens past it: refused, cut, or cut into pieces of this length whose vectors are
    # averaged or attended to by the checkpoint's chunk query.
    max_audio_s: float = 30.0
    long_audio: LongAudio = "truncate"
    # From clips that are cut into pieces: stretches longer than silence_s that stay silence_db below the loudest 20 ms are
    # dropped first. None: nothing is.
    silence_db: float | None = None
    silence_s: float = 1.0
    # Shorter clips are zero-padded to this many seconds (0: never).
    min_audio_s: float = 0.0
    # Seconds at which the features' transform ends (a clip that fills it is mirrored there); None: the checkpoint's own.
    feature_window_s: float | None = None
    # Longest text in tokens before the template is added; longer ones are cut. None: no limit.
    max_text_tokens: int | None = None
    # Blanks at the end of a text are dropped.
    strip_text_end: bool = False
    # Licence of the weights this recipe is made for, in words.
    licence: str = ""
    notes: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name, allowed in (("pooling", Pooling), ("attention", Attention), ("long_audio", LongAudio)):
            if getattr(self, name) not in get_args(allowed):
                raise ModelError(
                    f"recipe {self.name!r}: {name} is {getattr(self, name)!r}, wanted one of {get_args(allowed)}"
                )
        places = [("audio_template", "{audio}"), ("text_template", "{text}")]
        for name, needed in places + [("audio_text_template", "{audio}"), ("audio_text_template", "{text}")]:
            template = getattr(self, name)
            if template is not None and template.count(needed) != 1:
                raise ModelError(f"recipe {self.name!r}: {name} must hold {needed} exactly once, got {template!r}")
        if not self.max_audio_s > 0 or not 0 <= self.min_audio_s <= self.max_audio_s:
            raise ModelError(
                f"recipe {self.name!r}: wanted 0 <= min_audio_s <= max_audio_s and max_audio_s > 0, "
                f"got {self.min_audio_s} and {self.max_audio_s}"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: str = "recipe") -> "Recipe":
        """Build a recipe from plain values; unknown and missing fields are refused by name."""
        return from_dict(cls, values, origin)

    @classmethod
    def from_json(cls, path: str | Path) -> "Recipe":
        return from_json(cls, path)
