"""One sound of the manifest to samples at its own rate, in this process or in others.

Decoders leave Python's lock for most formats, and threads then do as well as processes without copying samples. Where they
do not, processes help: calibrate.py measures it.

Source: own.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from ...errors import AudioError, BackendError
from ..audio import Waveform, decode_part
from .entry import Entry
from .fetch import ParquetSounds, fetch

# What one sound can cause, and must not end a run.
FAULTS = (AudioError, OSError, RuntimeError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a sound could not be read."""

    # "read", "decode" or "segment".
    stage: str
    error: str
    message: str

    @classmethod
    def of(cls, error: BaseException, stage: str, entry: Entry) -> "Fault":
        message = str(error) if isinstance(error, AudioError) else f"{entry.name}: {error}"
        return cls(stage, type(error).__name__, message)


class Decoded(NamedTuple):
    """Samples or a fault, and the seconds each stage took."""

    got: Waveform | Fault
    seconds: dict[str, float]


Decode = Callable[[Entry], Decoded]


def decode_entry(entry: Entry, limit_s: float | None, parquets: ParquetSounds) -> Decoded:
    """Read a sound, of which no more than `limit_s` counts; raises nothing that the sound can cause."""
    seconds: dict[str, float] = {}
    stage, begin = "read", perf_counter()
    try:
        source = fetch(entry, parquets)
        seconds[stage] = perf_counter() - begin
        stage, begin = "decode", perf_counter()
        wave = decode_part(source, entry.name, start_s=entry.start_s, end_s=entry.end_s, limit_s=limit_s)
        seconds[stage] = perf_counter() - begin
    except FAULTS as error:
        seconds[stage] = perf_counter() - begin
        return Decoded(Fault.of(error, stage, entry), seconds)
    return Decoded(wave, seconds)


@contextmanager
def decoder(limit_s: float | None, num_processes: int | None) -> Iterator[Decode]:
    """A function that decodes an entry, for many threads to call.

    Args:
        limit_s: as in `decode_entry`.
        num_processes: that do it; None: the calling thread does.
    """
    if num_processes is None:
        parquets = ParquetSounds()
        yield lambda entry: decode_entry(entry, limit_s, parquets)
        return
    # Not forked: a child of a process with a GPU and many threads cannot be trusted.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, initializer=_begin, initargs=(limit_s,))

    def decode(entry: Entry) -> Decoded:
        try:
            return pool.submit(_decode_here, entry).result()
        except BrokenExecutor:
            raise BackendError(
                f"a process that decodes sounds has died, {entry.name} was among those in its hands; what is done is kept"
            ) from None

    try:
        yield decode
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin(limit_s: float | None) -> None:
    global _here
    _here = (limit_s, ParquetSounds())


def _decode_here(entry: Entry) -> Decoded:
    return decode_entry(entry, *_here)


_here: tuple[float | None, ParquetSounds]
