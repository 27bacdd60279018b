"""What a protocol gives: sections of measures, with what plots and paired tests need.

Source: own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...training.metrics import bootstrap, chance


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over queries, its 95 % bootstrap interval, and what a random order would reach."""

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    # Shares are printed in percent.
    is_share: bool = True

    def text(self, *, interval: bool = True) -> str:
        """For tables: percent for shares, with the interval where it is known."""
        shown = self._shown(self.value)
        if interval and self.low is not None and self.high is not None:
            shown += f" [{self._shown(self.low)}, {self._shown(self.high)}]"
        return shown

    def chance_text(self) -> str:
        """What a random order reaches; "" where it is not known."""
        return "" if self.chance is None else self._shown(self.chance)

    def _shown(self, number: float) -> str:
        if self.is_share:
            return f"{100 * number:.1f}"
        return f"{number:.3f}" if abs(self.value) < 1 else f"{number:.1f}"

    def to_dict(self) -> dict[str, float]:
        named = {"value": self.value, "low": self.low, "high": self.high, "chance": self.chance}
        return {name: number for name, number in named.items() if number is not None}


@dataclass(slots=True)
class Section:
    """One direction or part of a protocol."""

    # Short and stable: "t2a", "a2t", "t2t", "uiq negative".
    key: str
    title: str
    measures: dict[str, Measure]
    num_queries: int
    num_candidates: int
    # [Q] rank of the first right candidate, for curves and histograms.
    ranks: np.ndarray | None = None
    # [Q] names of the queries and one value each for some measures, for paired tests.
    query_ids: Sequence[str] = ()
    per_query: dict[str, np.ndarray] = field(default_factory=dict)
    # [Q] ranks of the hard negatives, and (right, taken for it): count of confused labels.
    negative_ranks: np.ndarray | None = None
    confusions: dict[tuple[str, str], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "num_queries": self.num_queries,
            "num_candidates": self.num_candidates,
            "measures": {name: measure.to_dict() for name, measure in self.measures.items()},
            "notes": self.notes,
        }


def mean(
    values_Q: np.ndarray, *, clusters_Q: np.ndarray | None = None, seed: int = 0, is_share: bool = True
) -> Measure:
    """The mean of one value a query, with its interval."""
    values = np.asarray(values_Q, np.float64)
    low, high = bootstrap(values, clusters_Q=clusters_Q, seed=seed)
    return Measure(float(values.mean()), low, high, is_share=is_share)


def recalls(
    ranks_Q: np.ndarray,
    right_QN: np.ndarray | None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    clusters_Q: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Measure]:
    """R@k with chance where the labels are given, their mean, the median rank, and MRR and DCG as OEA's code has them."""
    out = {}
    for k in ks:
        measured = mean(ranks_Q <= k, clusters_Q=clusters_Q, seed=seed)
        random = None if right_QN is None else chance(right_QN, k)
        out[f"R@{k}"] = Measure(measured.value, measured.low, measured.high, random)
    out["Ravg"] = Measure(float(np.mean([out[f"R@{k}"].value for k in ks])))
    out["median rank"] = Measure(float(np.median(ranks_Q)), is_share=False)
    out["MRR"] = Measure(float(np.mean(1 / ranks_Q)))
    out["DCG"] = Measure(float(np.mean(1 / np.log2(ranks_Q + 1))))
    return out
