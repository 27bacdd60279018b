"""What a scenario loads: a case of samples, the systems that answer it, the gate they pass, and the queue that serves them.

Source: own.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...engine.serve.queue import BatchQueue, Work

# Samples in, an answer each: vectors [n, d], scores [n, candidates] or ids [n, k].
Answer = Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True, slots=True)
class System:
    """One way from samples to answers, and how its server cuts what waits into batches."""

    name: str
    answer: Answer
    # Samples of a batch; None: as many as have `batch_tokens` together.
    batch: int | None
    batch_tokens: int = 0
    # It compiles when a batch of a new kind comes, so every scenario is played untimed first.
    compiles: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """Samples of one kind, and the systems that answer them; the first is harken."""

    # "audio", "text", "rerank" or "search".
    what: str
    # Lengths, sizes: which samples these are.
    workload: str
    # What a sample is when the clock starts.
    boundary: str
    items: list[Any]
    systems: list[System]
    # How near a system's answers come to harken's, 1 at best, and the least that is timed.
    agreement: Callable[[np.ndarray, np.ndarray], float]
    least: float
    # Systems that cannot be run here, and why.
    absent: dict[str, str]
    # Tokens of each sample without padding; empty where a sample has none.
    num_tokens: list[int] = field(default_factory=list)
    # Seconds of sound in a sample, and products it takes in FLOPs, both in the mean; 0 where that says nothing.
    mean_audio_s: float = 0.0
    mean_flops: float = 0.0

    def rates(self, samples_per_s: float, peak_flops: float) -> dict[str, float]:
        """What goes through in a second, by other measures than samples; `peak_flops` a second is what MFU is told against."""
        found: dict[str, float] = {}
        if self.mean_audio_s:
            found["audio_s_per_s"] = samples_per_s * self.mean_audio_s
        if self.num_tokens:
            found["tokens_per_s"] = samples_per_s * sum(self.num_tokens) / len(self.num_tokens)
        if self.mean_flops:
            found["mfu"] = samples_per_s * self.mean_flops / peak_flops
        return found


def gate(case: Case) -> tuple[list[System], dict[str, float], dict[str, str]]:
    """The systems that give harken's answers, how near they come, and for each that does not the reason."""
    wanted = case.systems[0].answer(case.items)
    passed, near, failed = [case.systems[0]], {case.systems[0].name: 1.0}, {}
    for system in case.systems[1:]:
        try:
            found = case.agreement(system.answer(case.items), wanted)
        except Exception as error:
            # A rival's own failure, of whatever kind, is told in the table and ends the run with an error.
            failed[system.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            continue
        if found >= case.least:
            passed.append(system)
            near[system.name] = found
        else:
            failed[system.name] = f"agreement with harken {found:.6f}, wanted {case.least}"
    return passed, near, failed


class Served:
    """A system behind a queue, as a server has it: what waits is cut into batches."""

    def __init__(self, system: System, case: Case) -> None:
        by_tokens = system.batch is None and case.num_tokens
        self._costs = case.num_tokens if by_tokens else [1] * len(case.items)
        self._items = case.items
        self._queue = BatchQueue(
            lambda kind, indices: list(system.answer([case.items[i] for i in indices])),
            batch_tokens=system.batch_tokens if by_tokens else system.batch or len(case.items),
            max_pending_tokens=1 << 60,
        )

    def submit(self, index: int) -> "Future[object]":
        return self._queue.submit([Work("sample", index, self._costs[index])])[0]

    def close(self) -> None:
        self._queue.close(60)
