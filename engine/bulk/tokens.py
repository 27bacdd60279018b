"""Audio tokens of a corpus, made once and read by a reranker instead of hearing every candidate again.

    harken bulk SOUNDS -o tokens --audio-tokens --model RERANKER
    tokens = AudioTokens("tokens");  reranker = load_reranker(RERANKER, stored=tokens);  tokens.require(reranker.model)

Tokens are what tower and projector make of a sound, so their fingerprint is that of those two as they were loaded.

Source: own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from ...errors import AudioError, FileFormatError, FingerprintError, InputError
from ..audio import Waveform, load_audio, read_limit_s
from ..batching import plan_batches
from ..models.mllm import AudioLM
from ..quantize import from_bfloat16
from ..recipes.rerank import RerankRecipe
from .identity import require_identity
from .ledger import finished_parts

MAX_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class TokenFingerprint:
    """Everything that a sound's audio tokens depend on."""

    # Weights of tower and projector as loaded, with what an adapter changed of them.
    tower_sha256: str
    width: int
    dtype: str
    # How sounds are brought to length.
    min_audio_s: float
    max_audio_s: float
    long_audio: str

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def tower_sha256(model: AudioLM) -> str:
    """Hash of names, shapes and values of what turns sounds into tokens."""
    digest = hashlib.sha256()
    for part, module in (("tower", model.tower), ("projector", model.projector)):
        if isinstance(module, torch.nn.Module):
            for name, tensor in sorted(module.state_dict().items()):
                digest.update(f"{part}.{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class TokenEncoder:
    """The ears of a reranker as a model that a bulk run can use.

    Args:
        model: its tower and projector are used.
        recipe: longest and shortest clip.
        batch_tokens: audio tokens of one step.
        dtype: what will be stored, "bfloat16" or "float16".
    """

    def __init__(self, model: AudioLM, recipe: RerankRecipe, *, batch_tokens: int, dtype: str = "bfloat16") -> None:
        self.model, self.recipe, self.batch_tokens, self.dtype = model, recipe, batch_tokens, dtype
        self.fingerprint = TokenFingerprint(
            tower_sha256(model),
            model.width,
            str(model.dtype).removeprefix("torch."),
            recipe.min_audio_s,
            recipe.max_audio_s,
            recipe.long_audio,
        )

    @property
    def dim(self) -> int:
        return self.model.width

    @property
    def read_limit_s(self) -> float | None:
        return read_limit_s(self.recipe.max_audio_s, self.recipe.long_audio)

    def load_clip(self, source: Any, name: str) -> Waveform:
        """As the reranker reads a sound. Raises AudioError."""
        r, tower = self.recipe, self.model.tower
        clip = load_audio(
            source,
            tower.spec.sample_rate_hz,
            min_s=r.min_audio_s,
            max_s=r.max_audio_s,
            long_audio=r.long_audio,
            name=name,
        )
        if tower.num_tokens(len(clip.samples)) < 1:
            raise AudioError(f"{name}: {clip.duration_s:.4f} s are too short for this model to hear anything in")
        return clip

    @torch.inference_mode()
    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> list[np.ndarray]:
        """Audio tokens, float32 [n, W] a clip.

        Raises:
            InputError: an instruction, which no tower takes, or tokens that float16 cannot hold.
        """
        if instruction is not None:
            raise InputError(f"audio tokens depend on no instruction, got {instruction!r}")
        counts = [self.model.tower.num_tokens(len(clip.samples)) for clip in clips]
        tokens: dict[int, np.ndarray] = {}
        for batch in plan_batches(counts, self.batch_tokens):
            rows, lengths = self.model.audio_rows(self.model.features([clips[i].samples for i in batch]))
            tokens.update(zip(batch, (part.float().cpu().numpy() for part in rows.split(list(lengths)))))
        for i, clip in enumerate(clips):
            largest = float(np.abs(tokens[i]).max())
            if self.dtype == "float16" and largest > MAX_FLOAT16:
                raise InputError(f"{clip.name}: audio tokens reach {largest:g}, float16 ends at 65504; wanted bfloat16")
        return [tokens[i] for i in range(len(clips))]


@dataclass(frozen=True, slots=True)
class _Place:
    part: int
    first: int
    count: int


class AudioTokens(Mapping[str, np.ndarray]):
    """Audio tokens float32 [n, W] by id, or by the path of a sound that is a file of its own; read when asked for.

    Args:
        folder: of a finished or unfinished run with --audio-tokens.

    Raises:
        FileFormatError: no such folder, or a part of it is missing or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._identity = require_identity(self.folder)
        if self._identity["settings"]["format"] != "tokens":
            raise FileFormatError(f"{folder}: holds vectors; wanted the folder of a run with --audio-tokens")
        self._is_bfloat16 = self._identity["settings"]["dtype"] == "bfloat16"
        self._places: dict[str, _Place] = {}
        self._ids: dict[str, str] = {}
        self._mapped: dict[int, np.ndarray] = {}
        for part in finished_parts(self.folder):
            self._read_places(part.part)

    def __getitem__(self, name: str) -> np.ndarray:
        place = self._places[name if name in self._places else self._ids[name]]
        stored = self._tokens(place.part)[place.first : place.first + place.count]
        return from_bfloat16(stored) if self._is_bfloat16 else stored.astype(np.float32)

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def require(self, model: AudioLM) -> None:
        """Refuse to stand in for the ears of another model.

        Raises:
            FingerprintError: its tower or projector has other weights or another dtype.
        """
        made, here = self._identity["fingerprint"], {"tower_sha256": tower_sha256(model), "width": model.width}
        here["dtype"] = str(model.dtype).removeprefix("torch.")
        if differing := [name for name, value in here.items() if made.get(name) != value]:
            raise FingerprintError(
                f"{self.folder}: these audio tokens were made by another model; it differs in {', '.join(differing)}"
            )

    def _read_places(self, part: int) -> None:
        path = self.folder / "metadata" / f"metadata_{part:06d}.parquet"
        columns = ["id", "uri", "member", "source_row", "start_s", "end_s", "first_token", "num_tokens"]
        try:
            rows = pq.read_table(path, columns=columns).to_pylist()
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"{path}: cannot be read: {error}") from None
        for row in rows:
            self._places[row["id"]] = _Place(part, row["first_token"], row["num_tokens"])
            if all(row[name] is None for name in ("member", "source_row", "start_s", "end_s")):
                self._ids[row["uri"]] = row["id"]

    def _tokens(self, part: int) -> np.ndarray:
        if part not in self._mapped:
            path = self.folder / "tokens" / f"tokens_{part:06d}.npy"
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise FileFormatError(f"{path}: cannot be read: {error}") from None
            wanted = np.uint16 if self._is_bfloat16 else np.float16
            if array.ndim != 2 or array.dtype != wanted:
                raise FileFormatError(
                    f"{path}: holds {list(array.shape)} {array.dtype}; wanted [n, W] {wanted.__name__}"
                )
            self._mapped[part] = array
        return self._mapped[part]
