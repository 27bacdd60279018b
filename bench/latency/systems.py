"""The systems that the scenarios load: harken, and what a user would run instead, on the same weights.

    harken             packed batches, as `harken.load` gives it
    hf published       one clip at a time through the full class, padded to the longest the front end knows, language head
                       on every position
    hf batched         transformers without its head, clips batched and padded: the best that it offers

A boundary says where the clock starts: "file" with the path of a WAV file, "samples" with samples in memory.

Source: own; what the published wrappers do is told in spec/peers.md 0.1 and 0.2.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.audio import load_audio
from ...engine.embedder import Embedder
from ...engine.serve.queue import BatchQueue, Work
from .rivals import Qwen2AudioPath
from .workload import RATE_HZ, Workload

BOUNDARIES = ("file", "samples")
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
        boundary: what `embed` is given: paths, or samples [n] float32 at 16 kHz.
        batch: clips a batch of "hf batched".
    """
    made = []
    if "harken" in names:
        source = (lambda item: item) if boundary == "file" else (lambda item: (item, RATE_HZ))
        embed = lambda items: model.encode_audio([source(item) for item in items])
        made.append(System("harken", embed, lambda seconds: 16 + round(TOKENS_PER_S * seconds), model.batch_tokens))
    if set(names) - {"harken"}:
        rival = Qwen2AudioPath(model)
        samples = (lambda item: load_audio(item).samples) if boundary == "file" else (lambda item: item)
        if "hf published" in names:
            one = lambda items: np.concatenate([rival.encode([samples(item)], head=True) for item in items])
            made.append(System("hf published", one, lambda seconds: 1, 1))
        if "hf batched" in names:

            def many(items: Sequence[Any]) -> np.ndarray:
                batches = [items[i : i + batch] for i in range(0, len(items), batch)]
                return np.concatenate([rival.encode([samples(item) for item in b], head=False) for b in batches])

            made.append(System("hf batched", many, lambda seconds: 1, batch))
    return made


def items_of(workload: Workload, boundary: str, paths: Sequence[Path]) -> list[Any]:
    """What the systems are given at a boundary."""
    return list(paths) if boundary == "file" else list(workload.clips)


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
