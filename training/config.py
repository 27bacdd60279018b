"""A run's settings, one JSON or TOML file; unknown keys are refused, and the run's checkpoint keeps them.

Source: own; the numbers of the published systems are in training/configs.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import InputError
from .draw import BatchSettings
from .lora import LoraSettings
from .rows import SourceSettings

Stage = Literal["text", "audio-text", "heads", "qa", "rerank", "joint-rerank", "robust-atr"]
LossName = Literal[
    "symmetric", "one-direction", "hybrid-paper", "hybrid-coded", "masked-bidirectional", "cosine-l1-contrastive"
]


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What is trained on."""

    train: tuple[SourceSettings, ...] = ()
    val: tuple[SourceSettings, ...] = ()
    # Folder of the indexes of shards; None: OUT/rows, filled at the first start.
    index: str | None = None
    # Row groups of Parquet files whose rows are mixed, and which are kept in memory.
    mix: int = 8
    # Folder of cached outputs of a frozen tower; None: OUT/features, filled at the first start.
    features: str | None = None
    # File of the pooled states of the stage "heads"; None: OUT/states.npz, filled at the first start. Folder of the token
    # states of the stage "joint-rerank"; None: OUT/states.
    states: str | None = None
    # Validation queries a row: its first captions; None: all of them.
    max_val_captions: int | None = None
    # Validate on the first rows only; None: on all.
    max_val_rows: int | None = None
    # Hard negatives of the reranker (one JSON object a line: id, texts, sounds).
    negatives: str | None = None
    # Scores that the stage "joint-rerank" is distilled from, of `harken.training.teacher`.
    teacher: str | None = None
    # {tag: {"cluster_index": int}}: tags of one cluster count as one tag; None: each tag for itself.
    tag_clusters: str | None = None


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Which loss, and its numbers."""

    name: LossName = "symmetric"
    tau: float = 0.07
    # tau is where a learned temperature starts.
    learn_tau: bool = False
    # Hybrid-NCE.
    lam: float = 0.2
    beta: float = 0.1
    alpha: float = 1.0
    # Bidirectional with near negatives masked.
    max_similarity: float = 0.9
    # Cosine, L1, contrast.
    weights: tuple[float, float, float] = (0.3, 0.3, 0.4)
    # Reranker: weight of the candidates' cross entropy beside the pairs'.
    listwise: float = 0.0
    # Joint reranker: weight of the divergence from the teacher's ranking.
    distilled: float = 0.0
    # Wrong texts and wrong sounds a row, mined ones.
    num_negatives: int = 1

    def __post_init__(self) -> None:
        if self.name not in get_args(LossName):
            raise InputError(f"loss.name is {self.name!r}, wanted one of {', '.join(get_args(LossName))}")
        for name in ("listwise", "distilled"):
            if getattr(self, name) < 0:
                raise InputError(f"loss.{name} is {getattr(self, name)}, wanted a weight, 0 or more")


@dataclass(frozen=True, slots=True)
class OptimSettings:
    """AdamW and its schedule."""

    lr: float = 1e-4
    # Of heads, a projector trained whole and the temperature; None: lr.
    head_lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    num_steps: int = 1000
    warmup_steps: int = 0
    # After the warm-up: "cosine" down to final_lr times the peak, or "constant".
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr: float = 0.0
    # None: gradients are not clipped.
    max_grad_norm: float | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the run goes."""

    # Dtype of the frozen weights.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Products in bfloat16 by torch.autocast.
    autocast: bool = False
    gradient_checkpointing: bool = False
    # Two passes: the batch's memory is that of one group of max_tokens.
    grad_cache: bool = False
    max_tokens: int = 2048
    validate_every: int = 100
    # Steps between checkpoints; None: at every validation.
    save_every: int | None = None
    # Validations without a better score before the run stops; None: it does not.
    patience: int | None = None
    device: str | None = None
    threads: int | None = None
    tensorboard: bool = True


@dataclass(frozen=True, slots=True)
class RobustSettings:
    """Robust-ATR's trained parts (the paper leaves their sizes to a search)."""

    num_layers: int = 1
    num_heads: int = 8
    mlp_width: int = 2048
    dim: int = 512
    dropout: float = 0.1
    activation: Literal["gelu", "relu"] = "gelu"
    # How often the learned query stands in for the paired text's vector in the pooling of chunks.
    query_probability: float = 0.1
    # Attention between the two sides, in training only.
    cross_modal: bool = True


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run."""

    stage: Stage
    # Checkpoint folder; "mini": the built-in model.
    model: str
    # Folder of the run; an interrupted run there is continued.
    out: str
    # Of the engine: an embedding recipe, or a rerank recipe for the stage "rerank".
    recipe: str = ""
    # Fields of the recipe that this run changes.
    recipe_overrides: Mapping[str, Any] = field(default_factory=dict)
    # Adapter that belongs to the checkpoint: merged into it before LoRA is put on it; "harken-mini": the built-in model's.
    merged: str | None = None
    # Adapter to start from (same LoRA settings); "harken-mini": the built-in model's; None: from nothing.
    init: str | None = None
    # Start heads from whitened states of this many rows; 0: as drawn, or as `init` has them.
    num_whitening: int = 0
    seed: int = 0
    data: DataSettings = DataSettings()
    batch: BatchSettings = field(default_factory=BatchSettings)
    lora: LoraSettings = LoraSettings()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    run: RunSettings = RunSettings()
    robust: RobustSettings = RobustSettings()

    def __post_init__(self) -> None:
        if self.stage not in get_args(Stage):
            raise InputError(f"stage is {self.stage!r}, wanted one of {', '.join(get_args(Stage))}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they would be read from JSON."""
        return json.loads(json.dumps(asdict(self), default=dict))


def load_settings(path: str | Path, **changes: Any) -> TrainSettings:
    """Read a .json or .toml file; paths in it are relative to the working folder.

    Args:
        changes: top-level fields that replace the file's.

    Raises:
        InputError: the file cannot be read, or a key is unknown, missing or of the wrong type.
    """
    path = Path(path)
    try:
        text = path.read_text()
        values = _toml(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as settings: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: wanted an object of settings, got {type(values).__name__}")
    return settings_from({**values, **changes}, str(path))


def settings_from(values: Mapping[str, Any], where: str = "settings") -> TrainSettings:
    """Settings from plain values; what is wrong is told by its place."""
    return _build(TrainSettings, values, where)


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(values) - set(known)):
        raise InputError(f"{where}: unknown keys {unknown}; there are {', '.join(known)}")
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise InputError(f"{where}: {', '.join(missing)} missing; wanted at least {', '.join(needed)}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: wanted an object, got {value!r}")
        return _build(hint, value, where)
    inner = get_args(hint)
    if inner and is_dataclass(inner[0]):
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: wanted a list, got {value!r}")
        return tuple(_build(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: wanted a list, got {value!r}")
        return tuple(value)
    if get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: wanted an object, got {value!r}")
        return dict(value)
    kinds = tuple(k for k in (inner or (hint,)) if k in (int, float, str, bool))
    allowed = (*kinds, int) if float in kinds else kinds
    literals = [v for v in inner if isinstance(v, str)] if not kinds else []
    none_fits = type(None) in inner
    wrong = (allowed and not isinstance(value, allowed)) or (isinstance(value, bool) and bool not in kinds)
    if literals and value not in literals:
        raise InputError(f"{where} is {value!r}, wanted one of {', '.join(literals)}")
    if kinds and wrong and not (value is None and none_fits):
        raise InputError(f"{where} is {value!r}, wanted {' or '.join(k.__name__ for k in kinds)}")
    return value


def _toml(text: str) -> Any:
    try:
        toml = import_module("tomllib")
    except ImportError:
        # Python 3.10
        toml = import_module("tomli")
    return toml.loads(text)
