"""What a search gives back.

Source: own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Hit(NamedTuple):
    """One sound that was found."""

    id: str
    score: float
    # Its row in the index.
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Hits of every query, best first, ties by position; iterates as a list of `Hit` a query."""

    # Of each query, as many as were found.
    ids: list[list[str]]
    # [q, k] int64; -1 where fewer than k were found.
    positions: np.ndarray
    # [q, k] float32; -inf where fewer than k were found.
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, query: int) -> list[Hit]:
        found = zip(self.ids[query], self.scores[query], self.positions[query])
        return [Hit(name, float(score), int(position)) for name, score, position in found]

    def __iter__(self) -> Iterator[list[Hit]]:
        return (self[query] for query in range(len(self)))
