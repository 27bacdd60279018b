"""The systems that the scenarios load: harken, and what a user would run instead, on the same weights.

    harken             packed batches, as `harken.load` gives it
    hf published       one clip at a time through the full class, padded to the longest the front end knows, language head
                       on every position
    hf batched         transformers without its head, clips batched and padded: the best that it offers

A boundary says where the clock starts: "file" with the path of a WAV file, "samples" with samples in memory, "features" with
the log-mel features on the device (harken alone: the others have no such door).

Source: own; what the published wrappers do is told in spec/peers.md 0.1 and 0.2.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.audio import load_audio
from ...engine.batching import plan_batches
from ...engine.embedder import Embedder
from ...engine.lm_encoder import LMEncoder
from ...engine.serve.queue import BatchQueue, Work
from ...engine.text.template import Prompt
from ...kernels.logmel import LogMel
from .rivals import Qwen2AudioPath
from .workload import RATE_HZ, Workload

BOUNDARIES = ("file", "samples", "features")
SYSTEMS = ("harken", "hf published", "hf batched")
TOKENS_PER_S = 25
# Items of one boundary in, vectors [n, d] out.
Embed = Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True, slots=True)
class System:
    """One way from sounds to vectors, and how its server cuts what waits into batches."""

    name: str
    embed: Embed
    # Tokens that a clip of so many seconds counts for, and tokens of a batch.
    cost: Callable[[float], int]
    batch_tokens: int


def make_systems(model: Embedder, names: Sequence[str], boundary: str, batch: int) -> list[System]:
    """The systems by name.

    Args:
        model: harken's.
        names: of SYSTEMS.
        boundary: what `embed` is given, see `items_of`.
        batch: clips a batch of "hf batched".
    """
    made = [_harken(model, boundary)] if "harken" in names else []
    if boundary != "features" and set(names) - {"harken"}:
        made += _transformers(Qwen2AudioPath(model), names, boundary, batch)
    return made


def items_of(workload: Workload, boundary: str, paths: Sequence[Path], model: Embedder) -> list[Any]:
    """What the systems are given at a boundary: paths, samples [n] float32 at 16 kHz, or (features, prompt) pairs."""
    if boundary == "file":
        return list(paths)
    if boundary == "samples":
        return list(workload.clips)
    return [(model.model.features([clip]), model.audio_prompt(len(clip))) for clip in workload.clips]


def _harken(model: Embedder, boundary: str) -> System:
    embed: Embed = lambda items: model.encode_audio(items)
    if boundary == "samples":
        embed = lambda items: model.encode_audio([(item, RATE_HZ) for item in items])
    elif boundary == "features":
        embed = lambda items: _of_features(model, items)
    return System("harken", embed, lambda seconds: 16 + round(TOKENS_PER_S * seconds), model.batch_tokens)


def _of_features(model: Embedder, items: Sequence[tuple[LogMel, Prompt]]) -> np.ndarray:
    encoder = model.encoder
    if not isinstance(encoder, LMEncoder):
        raise SystemExit(f"recipe {model.recipe.name}: the boundary 'features' is that of models with a decoder")
    vectors = np.empty((len(items), model.dim), np.float32)
    for batch in plan_batches([encoder.cost(prompt) for _, prompt in items], model.batch_tokens):
        mels = [items[i][0] for i in batch]
        ends = list(accumulate((mel.cu_frames[-1] for mel in mels), initial=0))
        mel = LogMel(torch.cat([m.features_FM for m in mels]), ends, [n for m in mels for n in m.num_frames])
        vectors[batch] = encoder.feature_vectors(mel, [items[i][1] for i in batch]).cpu().numpy()
    return vectors


def _transformers(rival: Qwen2AudioPath, names: Sequence[str], boundary: str, batch: int) -> list[System]:
    samples = (lambda item: load_audio(item).samples) if boundary == "file" else (lambda item: item)
    made = []
    if "hf published" in names:
        one = lambda items: np.concatenate([rival.encode([samples(item)], head=True) for item in items])
        made.append(System("hf published", one, lambda seconds: 1, 1))
    if "hf batched" in names:

        def many(items: Sequence[Any]) -> np.ndarray:
            batches = [items[i : i + batch] for i in range(0, len(items), batch)]
            return np.concatenate([rival.encode([samples(item) for item in b], head=False) for b in batches])

        made.append(System("hf batched", many, lambda seconds: 1, batch))
    return made


def check_agreement(systems: Sequence[System], items: Sequence[Any], least_cosine: float) -> None:
    """The gate before anything is timed: all systems give the first one's vectors.

    Raises:
        SystemExit: one does not; it is named.
    """
    wanted = systems[0].embed(items)
    for system in systems[1:]:
        cosine = float((system.embed(items) * wanted).sum(1).min())
        if not cosine >= least_cosine:
            raise SystemExit(f"FAILED: {system.name} disagrees with {systems[0].name}: cosine {cosine:.6f}")


class Served:
    """A system behind a queue, as a server has it: what waits is cut into batches by tokens."""

    def __init__(self, system: System, items: Sequence[Any], durations_s: Sequence[float]) -> None:
        self._items, self._costs = items, [system.cost(seconds) for seconds in durations_s]
        self._queue = BatchQueue(
            lambda kind, indices: list(system.embed([items[i] for i in indices])),
            batch_tokens=system.batch_tokens,
            max_pending_tokens=1 << 60,
        )

    def submit(self, index: int) -> "Future[object]":
        return self._queue.submit([Work("audio", index, self._costs[index])])[0]

    def close(self) -> None:
        self._queue.close(60)
