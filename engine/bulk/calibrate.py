"""How many readers a run needs so that the model never waits, and whether threads will do: timed on some of its own sounds.

    readers = ceil(1.25 x seconds to load a sound / seconds on the device),  1..cores
    processes, where that many threads load less than half as many times faster than one

Source: own.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ...errors import HarkenError
from ..audio import Waveform
from .decoding import Decode, decoder
from .encoder import Encoder
from .job import Job, Slice
from .reading import Readers, loader

# Below that many sounds the measurement would cost more than it saves.
MIN_ROWS = 2000
NUM_SOUNDS = 32
# What each half of the measurement may take, after its first sounds.
BUDGET_S = 2.0
# So that the device is the one that is never short.
MARGIN = 1.25


# Threads that give less than this share of their number are in each other's way.
MIN_EFFICIENCY = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds a sound takes: to read, decode and resample in one thread, and on the device in a batch."""

    load_s: float
    device_s: float

    def num_readers(self, num_cores: int) -> int:
        if self.device_s <= 0:
            return num_cores
        return min(num_cores, max(1, math.ceil(MARGIN * self.load_s / self.device_s)))


def choose_readers(
    job: Job, parts: list[Slice], encoder: Encoder, num: int | None = None, in_processes: bool | None = None
) -> Readers:
    """Readers for a run: as given, else measured where the run is long, else a thread a core."""
    num_cores = len(os.sched_getaffinity(0))
    if num is not None or sum(part.stop - part.start for part in parts) < MIN_ROWS:
        return Readers(num or num_cores, bool(in_processes))
    with decoder(encoder.read_limit_s, None) as decode:
        sample = Sample(job, parts[0], encoder, decode)
        rates = sample.rates()
        num = num_cores if rates is None else rates.num_readers(num_cores)
        if in_processes is None:
            in_processes = rates is not None and num > 1 and sample.efficiency(num) < MIN_EFFICIENCY
    return Readers(num, in_processes)


class Sample:
    """Sounds spread over a part, to measure with."""

    def __init__(
        self, job: Job, part: Slice, encoder: Encoder, decode: Decode, clock: Callable[[], float] = perf_counter
    ) -> None:
        rows = np.unique(np.linspace(part.start, part.stop - 1, NUM_SOUNDS).astype(int)).tolist()
        entries = job.manifest.entries(part.start, part.stop)
        self._todo = [(row, entries[row - part.start]) for row in rows]
        self._load, self._encoder, self._clock = loader(encoder, decode), encoder, clock
        self._instruction = job.settings.instruction
        self._load_s = 0.0

    def rates(self) -> Rates | None:
        """Seconds a sound; None where none can be read or embedded."""
        begin, clips, num_read = self._clock(), list[Waveform](), 0
        for row, entry in self._todo:
            got = self._load(row, entry).got
            num_read += 1
            clips += [got] if isinstance(got, Waveform) else []
            if self._clock() - begin > BUDGET_S:
                break
        self._todo = self._todo[:num_read]
        self._load_s = (self._clock() - begin) / num_read
        try:
            return Rates(self._load_s, self._device_s(clips)) if len(clips) >= 2 else None
        except HarkenError:
            return None

    def efficiency(self, num_threads: int) -> float:
        """How many times faster threads load than one does, a thread; after `rates`."""
        begin = self._clock()
        with ThreadPoolExecutor(num_threads) as threads:
            list(threads.map(lambda item: self._load(*item), self._todo))
        passed_s = max(self._clock() - begin, 1e-9)
        # Fewer sounds than threads cannot keep them all busy.
        return self._load_s * len(self._todo) / passed_s / min(num_threads, len(self._todo))

    def _device_s(self, clips: list[Waveform]) -> float:
        # Once unmeasured: the first batch pays for what is set up once.
        self._encode_s(clips[:1])
        device_s = self._encode_s(clips[:2])
        num_more = min(len(clips), int(BUDGET_S / max(device_s, 1e-6)))
        return self._encode_s(clips[:num_more]) if num_more > 2 else device_s

    def _encode_s(self, clips: list[Waveform]) -> float:
        begin = self._clock()
        self._encoder.encode_clips(clips, instruction=self._instruction)
        return (self._clock() - begin) / len(clips)
