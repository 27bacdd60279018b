"""Sounds read in threads, a bounded number ahead of the model; what cannot be read comes back as its error."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import AudioError
from .audio import Waveform, source_name

# Clips of a chunk, first and at most; and samples of a chunk, as far as the lengths of the chunk before tell. With the chunk
# being embedded and the one being read, this bounds the memory that samples take to about half a gigabyte.
FIRST_CHUNK, CHUNK = 32, 256
CHUNK_SAMPLES = 1 << 26
NUM_THREADS = 4


@dataclass(frozen=True, slots=True)
class Read:
    """One source: its position, its name, and its samples or what was wrong with it."""

    row: int
    name: str
    got: Waveform | AudioError


def read_chunks(sources: Sequence[Any], load: Callable[[Any, str], Waveform]) -> Iterator[list[Read]]:
    """Yield the sources in order, in chunks; the next chunk is read while the caller works on this one.

    Args:
        sources: anything `load` takes.
        load: called as load(source, name) in several threads; an AudioError it raises becomes that source's result.
    """

    def read(item: tuple[int, Any]) -> Read:
        row, source = item
        name = source_name(source, f"sources[{row}]")
        try:
            return Read(row, name, load(source, name))
        except AudioError as error:
            return Read(row, name, error)

    numbered = iter(enumerate(sources))
    with ThreadPoolExecutor(max_workers=NUM_THREADS) as threads:
        start = lambda count: [threads.submit(read, item) for item in islice(numbered, count)]
        reading = start(FIRST_CHUNK)
        while reading:
            chunk = [future.result() for future in reading]
            reading = start(_next_size(chunk))
            yield chunk


def _next_size(chunk: Sequence[Read]) -> int:
    lengths = [len(read.got.samples) for read in chunk if isinstance(read.got, Waveform)]
    return min(CHUNK, max(1, CHUNK_SAMPLES * len(lengths) // max(1, sum(lengths)))) if lengths else FIRST_CHUNK
