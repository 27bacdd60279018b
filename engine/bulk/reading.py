"""From the manifest to samples, in threads, in order, a bounded number of sounds and bytes ahead of the model.

Groups are what the model gets at once. Where one ends depends on the manifest and the sounds alone, never on how fast
they came, so that a run that was interrupted makes the same batches as one that was not.

Source: own.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter

from ..audio import Waveform
from .decoding import FAULTS, Decode, Fault, decoder
from .encoder import Encoder
from .entry import Entry
from .manifest import Manifest

# A group is closed when it has that many sounds, or that many seconds of sound (115 MB at 16 kHz).
GROUP_CLIPS = 256
GROUP_S = 1800.0
# How far the threads may be ahead of the group that is being filled.
AHEAD_CLIPS = 512
AHEAD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Failed:
    """A sound that has no vector, and why."""

    row: int
    entry: Entry
    # "read", "decode", "segment" or "encode".
    stage: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A sound read: its samples or its failure, and the seconds each stage took."""

    row: int
    entry: Entry
    got: Waveform | Failed
    seconds: dict[str, float]


@dataclass(slots=True)
class Group:
    """Neighbours of one part, for the model to work on at once."""

    part: int
    # Of the part, in the manifest.
    start: int
    stop: int
    sounds: list[Loaded] = field(default_factory=list)
    # The part ends with this group.
    last: bool = False


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads: threads, which resample, and where asked for as many processes, which decode for them."""

    num: int
    in_processes: bool = False


def read_groups(
    manifest: Manifest, parts: Iterable[tuple[int, int, int]], encoder: Encoder, readers: Readers
) -> Generator[Group, None, None]:
    """Yield the sounds of parts (number, start, stop), in order, as groups; every part ends with a group marked `last`."""
    num_threads = readers.num
    with (
        decoder(encoder.read_limit_s, readers.num if readers.in_processes else None) as decode,
        ThreadPoolExecutor(num_threads, thread_name_prefix="harken-read") as threads,
    ):
        load = loader(encoder, decode)
        try:
            group: Group | None = None
            for part, start, stop, loaded in _in_order(manifest, parts, load, threads, num_threads):
                if group is None or group.part != part:
                    group, seconds = Group(part, start, stop), 0.0
                group.sounds.append(loaded)
                seconds += loaded.got.duration_s if isinstance(loaded.got, Waveform) else 0.0
                group.last = loaded.row == stop - 1
                if group.last or len(group.sounds) >= GROUP_CLIPS or seconds >= GROUP_S:
                    yield group
                    group = None
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _in_order(
    manifest: Manifest,
    parts: Iterable[tuple[int, int, int]],
    load: Callable[[int, Entry], Loaded],
    threads: ThreadPoolExecutor,
    num_threads: int,
) -> Iterator[tuple[int, int, int, Loaded]]:
    todo = (
        (part, start, stop, start + i, entry)
        for part, start, stop in parts
        for i, entry in enumerate(manifest.entries(start, stop))
    )
    ahead: deque[tuple[int, int, int, Future[Loaded]]] = deque()
    meter, more = _Meter(), True
    while more or ahead:
        while more and len(ahead) < AHEAD_CLIPS and (len(ahead) <= num_threads or meter.has_room(len(ahead))):
            item = next(todo, None)
            if item is None:
                more = False
            else:
                part, start, stop, row, entry = item
                future = threads.submit(load, row, entry)
                future.add_done_callback(meter.add)
                ahead.append((part, start, stop, future))
        if ahead:
            part, start, stop, future = ahead.popleft()
            loaded = future.result()
            meter.remove(loaded)
            yield part, start, stop, loaded


class _Meter:
    """Bytes of samples that wait; sounds still being read are taken to be as long as the longest so far."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_done = self._num_bytes = self._largest = 0

    def add(self, future: Future[Loaded]) -> None:
        size = 0 if future.cancelled() or future.exception() else _size(future.result())
        with self._lock:
            self._num_done += 1
            self._num_bytes += size
            self._largest = max(self._largest, size)

    def remove(self, loaded: Loaded) -> None:
        with self._lock:
            self._num_done -= 1
            self._num_bytes -= _size(loaded)

    def has_room(self, num_ahead: int) -> bool:
        with self._lock:
            return self._num_bytes + (num_ahead - self._num_done) * self._largest < AHEAD_BYTES


def _size(loaded: Loaded) -> int:
    return loaded.got.samples.nbytes if isinstance(loaded.got, Waveform) else 0


def loader(encoder: Encoder, decode: Decode) -> Callable[[int, Entry], Loaded]:
    """A function (row, entry) -> Loaded that threads may call; it raises nothing that one sound can cause."""

    def load(row: int, entry: Entry) -> Loaded:
        got, seconds = decode(entry)
        if isinstance(got, Waveform):
            begin = perf_counter()
            try:
                got = encoder.load_clip(got, entry.name)
            except FAULTS as error:
                got = Fault.of(error, "segment", entry)
            seconds["resample"] = perf_counter() - begin
        if isinstance(got, Fault):
            return Loaded(row, entry, Failed(row, entry, got.stage, got.error, got.message), seconds)
        return Loaded(row, entry, got, seconds)

    return load
