"""Rerank recipes: how a multimodal LLM is asked whether a sound and a text belong together.

The answer is P(Yes) over the two words at the position after the prompt. A template holds {instruction}, {audio} and
{text}; whichever of {audio} and {text} comes first is what many pairs share, so its keys and values are computed once.
{meet}, where there is one, is where the shared part ends.

Source: AuroLA's inference prompts, spec/recipes.md C.6; the 20 spaces are those of its training prompt. Parts that meet in
the upper layers alone: MacAvaney et al. 2020 (PreTTR, arXiv 2004.14255).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ...errors import ModelError
from .fields import from_json

_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
_SOUND = "<|audio_bos|>{audio}<|audio_eos|>"
_ASK = "<|im_end|>\n<|im_start|>assistant\n"
_WANTED = "Find an audio containing the sound events in the following caption: {text}"
# The embedder's two prompts, one behind the other.
_MINI = f"<|im_start|>user\n{_SOUND}<|im_end|>\n{{meet}}<|im_start|>user\n{{text}}<|im_end|>\n"
CLEAN = (
    "I will provide you with a query and a candidate. Please evaluate whether the candidate matches the query. "
    "If it does, respond with 'Yes'; if it doesn't, respond with 'No'."
)
TRAINED = CLEAN.replace("candidate matches", "candidate" + 20 * " " + "matches")


@dataclass(frozen=True, slots=True)
class RerankRecipe:
    """Prompts and answers of one reranker."""

    name: str
    source: str
    # The `model_type` values of config.json that this recipe can run on: causal decoders only.
    backbones: tuple[str, ...]
    # What {instruction} stands for: CLEAN, TRAINED, or the caller's own.
    instruction: str
    # A sound asks, texts answer; and the other way round.
    a2t_template: str
    t2a_template: str
    # The text-to-audio prompt with the sound before the text, for checkpoints trained so; None: there is none.
    t2a_audio_first_template: str | None = None
    # Ask with t2a_audio_first_template: the keys and values of a candidate sound then serve every query.
    audio_first: bool = False
    # The first decoder layer in which what follows {meet} sees what stands before it; below it stands alone, so that a text
    # runs through the lower layers once, however many sounds it is asked of.
    joint_from: int = 0
    # Whether a product of the sound's and the text's vector, which lies beside the adapter, adds to the answer.
    product: bool = False
    # The first token of each is what is compared.
    yes: str = "Yes"
    no: str = "No"
    # Longest clip in seconds, and what happens past it; shorter clips are zero-padded to min_audio_s.
    max_audio_s: float = 30.0
    long_audio: Literal["error", "truncate"] = "truncate"
    min_audio_s: float = 0.0
    # Licence of the weights this recipe is made for, in words.
    licence: str = ""
    notes: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.audio_first and self.t2a_audio_first_template is None:
            raise ModelError(
                f"rerank recipe {self.name!r}: audio_first is set, but t2a_audio_first_template is missing"
            )
        for name in ("a2t_template", "t2a_template", "t2a_audio_first_template"):
            template = getattr(self, name)
            for place in ("{audio}", "{text}"):
                if template is not None and template.count(place) != 1:
                    raise ModelError(
                        f"rerank recipe {self.name!r}: {name} must hold {place} exactly once, got {template!r}"
                    )
        in_order = [t.find("{audio}") < t.find("{meet}") < t.find("{text}") for t in self.templates]
        if not all(in_order) if self.joint_from else any("{meet}" in template for template in self.templates):
            raise ModelError(
                f"rerank recipe {self.name!r}: joint_from is {self.joint_from}; wanted {{audio}}, {{meet}}, {{text}} in this "
                "order in every template where it is above 0, and no {meet} where it is 0"
            )
        if self.product and not self.joint_from:
            raise ModelError(
                f"rerank recipe {self.name!r}: product is set and joint_from 0; a product reads texts that stand alone, so "
                "wanted joint_from above 0"
            )
        if self.long_audio not in ("error", "truncate"):
            raise ModelError(
                f"rerank recipe {self.name!r}: long_audio is {self.long_audio!r}, wanted 'error' or 'truncate'"
            )

    @property
    def templates(self) -> list[str]:
        """Those there are."""
        given = (self.a2t_template, self.t2a_template, self.t2a_audio_first_template)
        return [template for template in given if template is not None]

    def template(self, direction: str) -> str:
        """The template of "a2t" or "t2a"."""
        if direction == "a2t":
            return self.a2t_template
        return self.t2a_audio_first_template if self.audio_first else self.t2a_template  # type: ignore[return-value]


_AUROLA = RerankRecipe(
    name="aurola-rerank",
    source="AuroLA, arXiv 2602.18010",
    backbones=("qwen2_5_omni", "qwen2_5_omni_thinker", "qwen2_audio", "midashenglm"),
    instruction=CLEAN,
    a2t_template=(
        f"{_SYSTEM}<|im_start|>user\n{{instruction}}Query:{_SOUND}"
        f"Find a caption describing the sound events in the given audio.Candidate:{{text}}{_ASK}"
    ),
    t2a_template=f"{_SYSTEM}<|im_start|>user\n{{instruction}}Query:{_WANTED}Candidate:{_SOUND}{_ASK}",
    t2a_audio_first_template=f"{_SYSTEM}<|im_start|>user\n{{instruction}}Candidate:{_SOUND}Query:{_WANTED}{_ASK}",
    licence="unknown for the published weights; their base is Qwen2.5-Omni",
)
RERANK_RECIPES = (
    _AUROLA,
    replace(_AUROLA, name="aurola-rerank-trained", instruction=TRAINED),
    RerankRecipe(
        name="mini-rerank",
        source="own",
        backbones=("qwen2_audio",),
        instruction="",
        a2t_template=_MINI,
        t2a_template=_MINI,
        licence="Whisper base MIT, SmolLM2-135M-Instruct Apache-2.0, adapter Apache-2.0",
        joint_from=28,
        product=True,
        notes="Stands on harken-mini's adapter. The sound comes first in both directions, so that one prompt serves both.",
    ),
    replace(
        _AUROLA,
        name="aurola-rerank-audio-first",
        audio_first=True,
        notes="No published checkpoint was trained with this order; for checkpoints of one's own.",
    ),
)


def get_rerank_recipe(name: str | Path | RerankRecipe) -> RerankRecipe:
    """A rerank recipe by name, or from a JSON file of its fields.

    Raises:
        ModelError: no such recipe; the text lists those there are.
    """
    if isinstance(name, RerankRecipe):
        return name
    if str(name).endswith(".json"):
        return from_json(RerankRecipe, name)
    known = {recipe.name: recipe for recipe in RERANK_RECIPES}
    if str(name) not in known:
        raise ModelError(f"no rerank recipe {str(name)!r}; there are {', '.join(known)}, or give a .json file")
    return known[str(name)]
