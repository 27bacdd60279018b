"""What goes from the host to the model's device: pinned, so that nobody waits for it, and clips one batch ahead.

Source: own.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch


class Samples(NamedTuple):
    """Clips end to end on a device."""

    # float32 [N]
    samples_N: torch.Tensor
    # First sample of each clip and the end.
    cu_samples: tuple[int, ...]

    @classmethod
    def of(cls, clips: Sequence[np.ndarray], device: torch.device) -> "Samples":
        """Clips, each float32 [n], put on a device."""
        cu_samples = (0, *accumulate(len(clip) for clip in clips))
        if device.type == "cpu":
            return cls(torch.from_numpy(np.concatenate(clips)), cu_samples)
        host_N = torch.empty(cu_samples[-1], pin_memory=True)
        np.concatenate(clips, out=host_N.numpy())
        return cls(host_N.to(device, non_blocking=True), cu_samples)


def put(values: torch.Tensor | np.ndarray, device: torch.device) -> torch.Tensor:
    """A small tensor of the host on the device of the model; the host does not wait for the copy."""
    host = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    return host if device.type == "cpu" else host.pin_memory().to(device, non_blocking=True)


def uploaded(batches: Iterable[Sequence[np.ndarray]], device: torch.device) -> Iterator[Samples]:
    """Yield batches of clips on the device; while the caller computes on one, the next is on its way on another stream."""
    side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(clips: Sequence[np.ndarray]) -> tuple[Samples, torch.cuda.Event | None]:
        with torch.cuda.stream(side) if side is not None else nullcontext():
            samples = Samples.of(clips, device)
            return samples, None if side is None else side.record_event()

    def arrive(samples: Samples, copied: torch.cuda.Event | None) -> Samples:
        if copied is not None:
            stream = torch.cuda.current_stream(device)
            stream.wait_event(copied)
            # Its memory belongs to the other stream, which must not give it away while this one reads it.
            samples.samples_N.record_stream(stream)
        return samples

    on_the_way: tuple[Samples, torch.cuda.Event | None] | None = None
    for clips in batches:
        following = start(clips)
        if on_the_way is not None:
            yield arrive(*on_the_way)
        on_the_way = following
    if on_the_way is not None:
        yield arrive(*on_the_way)
