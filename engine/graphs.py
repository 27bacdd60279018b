"""A stack of layers recorded once a bucket of sizes and replayed: one launch where there were some hundreds.

A batch's rows and sequences are filled up to a bucket with inert ones. They are sequences of their own at the end, so the
real rows see the same keys as without them; what comes out for them is cut off.

    rows of the batch   a a a b b b b b b . . . . . .      bucket: 15 rows, 4 sequences
    sequences           3     6           6           0

A bucket is recorded when it comes for the second time, because recording takes much longer than running once.

On CUDA a bucket is a CUDA graph over static buffers. Elsewhere `eager` stands in: the same buckets, filling and cutting,
the layers run anew each time.

Source: own; the rules of CUDA graphs are those of torch.cuda.CUDAGraph.
Letters: N rows, W width.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .models.mllm import AudioLM
from .models.packed import Segments
from .models.whisper import WhisperTower

# Above this the products, not their launches, decide how long a batch takes.
MAX_ROWS = 4096
# Recordings kept for each stack; each holds its buffers, not its work space, which all share.
MAX_KEPT = 32
_MIN_STEP, _STEPS_AN_OCTAVE = 64, 8
# Two bounds of a sequence's length, this and the rows of the bucket, and few numbers of sequences, so that buckets come again.
_SHORT, _MIN_SEGMENTS = 256, 8

# Called with [N, W], its cut, and options by name: gives [N, W], or with the option `last_only` a row for each sequence.
Stack = Callable[..., torch.Tensor]
Replay = Callable[[Segments], torch.Tensor]


class Record(Protocol):
    """Makes a replay of a stack on a buffer; what the buffer holds and where it is cut changes between replays."""

    def __call__(self, run: Callable[[Segments], torch.Tensor], segments: Segments, device: torch.device) -> Replay: ...


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sizes that a batch is filled up to."""

    num_rows: int
    num_segments: int
    # Of any sequence.
    max_length: int

    @classmethod
    def of(cls, segments: Segments) -> "Bucket":
        """The smallest bucket that holds a batch; rows grow by an eighth at most."""
        rows, octave = segments.num_rows, _power_of_two(segments.num_rows)
        step = max(_MIN_STEP, octave // (2 * _STEPS_AN_OCTAVE))
        num_rows = -(-rows // step) * step
        max_length = _bound(segments.max_length, num_rows)
        fillers = -(-(num_rows - rows) // max_length)
        return cls(num_rows, max(_MIN_SEGMENTS, _power_of_two(len(segments) + fillers)), max_length)

    def fill(self, segments: Segments) -> Segments:
        """The cut of a batch with inert rows behind it, in sequences of at most max_length, then empty ones."""
        inert = self.num_rows - segments.num_rows
        lengths = [*segments.lengths, *[self.max_length] * (inert // self.max_length)]
        if inert % self.max_length:
            lengths.append(inert % self.max_length)
        return Segments.of(lengths + [0] * (self.num_segments - len(lengths)))


class Captured:
    """A stack that runs by replaying recordings; safe to call from several threads.

    Args:
        stack: what to record.
        record: `eager`, or a CudaGraphs.
        lock: one for all stacks that share `record`: a replay's result is taken before another replay may write over it.
    """

    def __init__(self, stack: Stack, record: Record, lock: AbstractContextManager[Any] | None = None) -> None:
        self._stack, self._record = stack, record
        self._kept: OrderedDict[tuple[object, ...], tuple[torch.Tensor, Replay]] = OrderedDict()
        self._seen: set[tuple[object, ...]] = set()
        self._lock: AbstractContextManager[Any] = threading.Lock() if lock is None else lock

    def fits(self, segments: Segments) -> bool:
        """Whether a batch is replayed; others run as they are."""
        return 0 < segments.num_rows <= MAX_ROWS

    def __call__(self, x_NW: torch.Tensor, segments: Segments, **options: bool) -> torch.Tensor:
        if not self.fits(segments):
            return self._stack(x_NW, segments, **options)
        bucket = Bucket.of(segments)
        filled = bucket.fill(segments)
        key = (bucket, x_NW.dtype, *sorted(options.items()))
        with self._lock:
            again = key in self._seen
            self._seen.add(key)
        if not again:
            return self._stack(x_NW, segments, **options)
        with self._lock:
            if key not in self._kept:
                buffer_NW = x_NW.new_zeros(bucket.num_rows, x_NW.shape[1])
                buffer_NW[: len(x_NW)] = x_NW
                run = lambda cut: self._stack(buffer_NW, cut, **options)
                self._kept[key] = buffer_NW, self._record(run, filled, x_NW.device)
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            buffer_NW, replay = self._kept[key]
            buffer_NW[: len(x_NW)] = x_NW
            buffer_NW[len(x_NW) :].zero_()
            out = replay(filled)
            # The next replay writes over `out`.
            return out[: len(segments) if options.get("last_only") else segments.num_rows].clone()


def eager(run: Callable[[Segments], torch.Tensor], segments: Segments, device: torch.device) -> Replay:
    """No recording: runs the stack on its buffer."""
    return run


class CudaGraphs:
    """Records CUDA graphs that share their work space, so that no two may run at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[Segments], torch.Tensor], segments: Segments, device: torch.device) -> Replay:
        static = _StaticSegments(segments.lengths)
        with torch.cuda.device(device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                # Twice: kernels are compiled and tuned, and what is told to the device once is told now.
                run(static)
                run(static)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may read sounds and talk to the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = run(static)
        cu_seqlens = static.cu_seqlens(device)

        def replay(now: Segments) -> torch.Tensor:
            cu_seqlens.copy_(now.cu_seqlens(device))
            with torch.cuda.device(device):
                graph.replay()
            return out

        return replay


class _StaticSegments(Segments):
    """The cut that a graph was recorded with: its numbers on the device are replaced before each replay.

    The longest sequence is not a number on the device but a bound baked into the launches, so it is the bucket's.
    """

    @property
    def max_length(self) -> int:  # type: ignore[override]
        return _bound(max(self.lengths), self.num_rows)


def can_capture(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a model there can run from CUDA graphs: its attention must be the varlen kernel, which waits for nothing."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)


def capture(model: AudioLM, record: Record) -> Captured:
    """Make the decoder of a model, and its tower where that is a stack of equal layers, run from recordings.

    Returns: the decoder's.
    """
    # Set on the instance, they hide the methods of the class.
    decoder: Any = model.decoder
    lock = threading.Lock()
    if isinstance(model.tower, WhisperTower):
        tower: Any = model.tower
        tower.stack = Captured(tower.stack, record, lock)
    decoder.forward = Captured(decoder.forward, record, lock)
    return decoder.forward


def _bound(max_length: int, num_rows: int) -> int:
    return min(_SHORT, num_rows) if max_length <= _SHORT else num_rows


def _power_of_two(n: int) -> int:
    """The smallest that is not below n."""
    return 1 << max(0, n - 1).bit_length()
