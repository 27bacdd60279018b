"""How far a bulk run is, and how it went: counts, rates, and which stage was the limit.

    load of a stage = seconds its workers were busy / (workers x wall seconds);   the limit is the stage of highest load

read, decode and resample share the reading threads, so their loads add up before they are compared.

Source: own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

READING = ("read", "decode", "resample")
STAGES = (*READING, "device", "write")


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far; `now` is what this run did itself, the others include what it found done."""

    num_rows: int
    num_done: int
    num_failed: int
    audio_s: float
    num_now: int
    audio_now_s: float
    wall_s: float

    @property
    def clips_per_s(self) -> float:
        return self.num_now / self.wall_s if self.wall_s else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this rate; None before there is one."""
        return (self.num_rows - self.num_done) / self.clips_per_s if self.num_now else None

    def to_dict(self) -> dict[str, Any]:
        names = ("num_rows", "num_done", "num_failed", "audio_s", "num_now", "audio_now_s", "wall_s", "clips_per_s")
        return {**{name: getattr(self, name) for name in names}, "left_s": self.left_s}


@dataclass(slots=True)
class StageTimes:
    """Busy seconds by stage, and how many workers a stage has."""

    num_readers: int = 1
    # Models at work; each has a writer.
    num_models: int = 1
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def add(self, seconds: Mapping[str, float]) -> None:
        for stage, more in seconds.items():
            self.seconds[stage] += more

    def loads(self, wall_s: float) -> dict[str, float]:
        """Load of each stage, 0 to 1."""
        workers = {stage: self.num_readers if stage in READING else self.num_models for stage in self.seconds}
        return {stage: busy / (workers[stage] * wall_s) if wall_s else 0.0 for stage, busy in self.seconds.items()}

    def limit(self) -> str:
        """The stage that the others waited for."""
        loads = self.loads(1.0)
        reading = sum(loads[stage] for stage in READING)
        if reading >= max(loads["device"], loads["write"]):
            return max(READING, key=lambda stage: loads[stage])
        return "device" if loads["device"] >= loads["write"] else "write"


class Tally:
    """Counts of a run while it goes on.

    Args:
        num_rows: of the manifest.
        num_done, num_failed, audio_s: what was found done.
        on_progress: called after every addition.
    """

    def __init__(
        self,
        num_rows: int,
        num_done: int = 0,
        num_failed: int = 0,
        audio_s: float = 0.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._num_rows, self._num_done, self._num_failed, self._audio_s = num_rows, num_done, num_failed, audio_s
        self._num_before, self._audio_before_s, self._on_progress = num_done, audio_s, on_progress
        self._begin = perf_counter()
        self.times = StageTimes()

    def add(self, num_done: int, num_failed: int, audio_s: float, seconds: Mapping[str, float]) -> None:
        """Count sounds, of which some failed, and the seconds each stage was busy with them."""
        self._num_done += num_done
        self._num_failed += num_failed
        self._audio_s += audio_s
        self.times.add(seconds)
        if self._on_progress is not None:
            self._on_progress(self.progress())

    def progress(self) -> Progress:
        return Progress(
            self._num_rows,
            self._num_done,
            self._num_failed,
            self._audio_s,
            self._num_done - self._num_before,
            self._audio_s - self._audio_before_s,
            perf_counter() - self._begin,
        )


@dataclass(frozen=True, slots=True)
class BulkReport:
    """How a run ended."""

    progress: Progress
    # All parts are done; False after Ctrl-C.
    finished: bool
    num_parts: int
    # Parts that were found done, and parts found damaged and done anew.
    num_parts_kept: int
    num_parts_redone: int
    # Failures by "stage error".
    errors: dict[str, int]
    # Busy seconds and load of each stage in this run, and the stage that was the limit; "" where nothing was to do.
    stage_s: dict[str, float]
    stage_load: dict[str, float]
    limit: str
    # Reading threads, and models at work.
    num_readers: int
    num_models: int

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("progress", "finished")}
        return {"finished": self.finished, **self.progress.to_dict(), **values}
