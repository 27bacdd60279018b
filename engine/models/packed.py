"""Sequences of different lengths laid end to end: the one form in which anything is batched.

    rows      a a a b b b b b c c
    lengths   3       5         2
    starts    0     3         8      10
    positions 0 1 2 0 1 2 3 4 0 1

Lengths live on the CPU as Python integers, so that nothing has to wait for the device to know a shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import torch

from .transfer import put


@dataclass(frozen=True)
class Segments:
    """How a packed tensor of `num_rows` rows is cut into sequences."""

    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Segments":
        return cls(tuple(int(n) for n in lengths))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """[len + 1] first row of each sequence, and the number of rows at the end."""
        return (0, *accumulate(self.lengths))

    @property
    def num_rows(self) -> int:
        return self.starts[-1]

    @cached_property
    def max_length(self) -> int:
        return max(self.lengths, default=0)

    def __len__(self) -> int:
        return len(self.lengths)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Neighbours of equal length as (first row, how many, length): each run is a dense batch without a copy."""
        start = 0
        for length, group in groupby(self.lengths):
            count = sum(1 for _ in group)
            yield start, count, length
            start += count * length

    def cu_seqlens(self, device: torch.device | str) -> torch.Tensor:
        """[len + 1] int32, as varlen attention wants it; copied to a device once, however many layers ask."""
        device = torch.device(device)
        if device not in self._on_device:
            self._on_device[device] = put(torch.tensor(self.starts, dtype=torch.int32), device)
        return self._on_device[device]

    @cached_property
    def _on_device(self) -> dict[torch.device, torch.Tensor]:
        return {}

    def positions(self, device: torch.device | str) -> torch.Tensor:
        """[num_rows] int64; each sequence counts from 0. Computed on the device, so that it can be part of a CUDA graph."""
        rows = torch.arange(self.num_rows, dtype=torch.int32, device=device)
        starts = self.cu_seqlens(device)
        return (rows - starts[torch.bucketize(rows, starts[1:], right=True)]).long()

    def last_rows(self, device: torch.device | str) -> torch.Tensor:
        """[len] int64 last row of each sequence, computed like `positions`; an empty one has some row that is not its own."""
        return (self.cu_seqlens(device)[1:].long() - 1).clamp_min(0)

    @cached_property
    def single_rows(self) -> "Segments":
        """As many sequences of one row each."""
        return Segments((1,) * len(self.lengths))
