"""How many threads must read so that the model never waits: both are timed on a few sounds of the run itself.

    threads = ceil(1.25 x seconds to load a sound / seconds on the device),  1..cores

Decoding and resampling leave Python's lock, so threads read side by side.

Source: own.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ...errors import HarkenError
from ..audio import Waveform
from .encoder import Encoder
from .job import Job, Slice
from .reading import loader

# Below that many sounds the measurement would cost more than it saves.
MIN_ROWS = 2000
NUM_SOUNDS = 32
# What each half of the measurement may take, after its first sounds.
BUDGET_S = 2.0
# So that the device is the one that is never short.
MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds a sound takes: to read, decode and resample in one thread, and on the device in a batch."""

    load_s: float
    device_s: float

    def num_threads(self, num_cores: int) -> int:
        if self.device_s <= 0:
            return num_cores
        return min(num_cores, max(1, math.ceil(MARGIN * self.load_s / self.device_s)))


def num_readers(job: Job, parts: list[Slice], encoder: Encoder) -> int:
    """Reading threads for a run: measured where it is long, else a thread a core."""
    num_cores = len(os.sched_getaffinity(0))
    if sum(part.stop - part.start for part in parts) < MIN_ROWS:
        return num_cores
    rates = measure(job, parts, encoder)
    return num_cores if rates is None else rates.num_threads(num_cores)


def measure(job: Job, parts: list[Slice], encoder: Encoder, clock: Callable[[], float] = perf_counter) -> Rates | None:
    """Time sounds spread over the first missing part; None where none of them can be read or embedded."""
    first = parts[0]
    rows = np.unique(np.linspace(first.start, first.stop - 1, NUM_SOUNDS).astype(int))
    entries = job.manifest.entries(first.start, first.stop)
    load, clips = loader(encoder), list[Waveform]()
    begin, num_read = clock(), 0
    for row in rows:
        got = load(int(row), entries[row - first.start]).got
        num_read += 1
        clips += [got] if isinstance(got, Waveform) else []
        if clock() - begin > BUDGET_S:
            break
    load_s = (clock() - begin) / num_read
    if len(clips) < 2:
        return None
    try:
        # Once unmeasured: the first batch pays for what is set up once.
        encoder.encode_clips(clips[:1], instruction=job.settings.instruction)
        begin = clock()
        encoder.encode_clips(clips[:2], instruction=job.settings.instruction)
        device_s = (clock() - begin) / 2
        num_more = min(len(clips), int(BUDGET_S / max(device_s, 1e-6)))
        if num_more > 2:
            begin = clock()
            encoder.encode_clips(clips[:num_more], instruction=job.settings.instruction)
            device_s = (clock() - begin) / num_more
    except HarkenError:
        return None
    return Rates(load_s, device_s)
