"""Ranks and recall: where the right candidates of a query stand among all.

    rank_q = place of the best right candidate of query q, from 1
    R@k    = mean_q [ rank_q <= k ]
    chance = mean_q [ 1 - C(N - m_q, k) / C(N, k) ],   m_q right ones among N

Scores are compared in float32. Where a right and a wrong candidate have the same score, `ties` decides:

    pessimistic   the wrong one stands before (default)
    optimistic    the right one stands before: 1 + the number of scores that are strictly greater
    index         the one with the lower position stands before

Source: Recall@k as in AudioCaps and Clotho retrieval; tie policies are named in spec/recipes.md F.1.
Letters: Q queries, N candidates.
"""

from math import comb
from typing import Literal, get_args

import numpy as np

from ..errors import InputError

Ties = Literal["pessimistic", "optimistic", "index"]
# Numbers that `bootstrap` draws in one step.
DRAWN_AT_ONCE = 1 << 19


def first_ranks(
    scores_QN: np.ndarray,
    right_QN: np.ndarray,
    *,
    ties: Ties = "pessimistic",
    excluded_QN: np.ndarray | None = None,
) -> np.ndarray:
    """Rank of each query's best right candidate.

    Args:
        scores_QN: higher is better; compared in float32.
        right_QN: bool, the candidates that answer the query.
        ties: what an equal score means.
        excluded_QN: bool, candidates that are not there for this query (itself, in text-to-text retrieval).

    Returns: [Q] int64, from 1.

    Raises:
        InputError: shapes differ, a score is NaN, or a query has no right candidate left.
    """
    scores, right = checked(scores_QN, right_QN, ties)
    there = True if excluded_QN is None else ~np.asarray(excluded_QN, bool)
    right = right & there
    require_right(right)
    best_Q1 = np.where(right, scores, -np.inf).max(1, keepdims=True)
    before = (scores > best_Q1) & there
    if ties == "optimistic":
        return 1 + before.sum(1)
    equal = (scores == best_Q1) & ~right & there
    if ties == "index":
        position = (right & (scores == best_Q1)).argmax(1)
        equal &= np.arange(scores.shape[1]) < position[:, None]
    return 1 + before.sum(1) + equal.sum(1)


def ordered_right(scores_QN: np.ndarray, right_QN: np.ndarray, *, ties: Ties = "pessimistic") -> np.ndarray:
    """`right_QN` with each row's candidates in order of score, best first.

    Args:
        scores_QN, right_QN, ties: as `first_ranks`; a query may have no right candidate.

    Raises:
        InputError: as `first_ranks`.
    """
    scores, right = checked(scores_QN, right_QN, ties)
    second = {"pessimistic": right, "optimistic": ~right, "index": np.zeros_like(right)}[ties]
    return np.take_along_axis(right, np.lexsort((second, -scores), axis=-1), 1)


def recall(ranks_Q: np.ndarray, k: int) -> float:
    """Share of ranks that are at most k."""
    return float((np.asarray(ranks_Q) <= k).mean())


def chance(right_QN: np.ndarray, k: int) -> float:
    """Exact expected recall at k of a random order."""
    return chance_of(right_QN.sum(1), right_QN.shape[1], k)


def chance_of(num_right_Q: np.ndarray, num_candidates: int, k: int) -> float:
    """The same from the number of right candidates of each query."""
    k = min(k, num_candidates)
    counts, weights = np.unique(num_right_Q, return_counts=True)
    each = [1 - comb(num_candidates - int(m), k) / comb(num_candidates, k) for m in counts]
    return float(np.average(each, weights=weights))


def bootstrap(
    values_Q: np.ndarray, *, clusters_Q: np.ndarray | None = None, seed: int = 0, num_draws: int = 2000
) -> tuple[float, float]:
    """95 % interval of the mean over queries, percentile method.

    Args:
        values_Q: one number or bool a query.
        clusters_Q: [Q] which queries are drawn together (captions of one clip are no independent queries); None: each alone.
        seed, num_draws: of the draws with replacement.
    """
    values = np.asarray(values_Q, np.float64)
    if clusters_Q is None:
        sums: np.ndarray = values
        sizes: np.ndarray = np.ones(len(values))
    else:
        of_query = np.unique(np.asarray(clusters_Q), return_inverse=True)[1]
        sums = np.bincount(of_query, values)
        sizes = np.bincount(of_query, np.ones(len(values)))
    rng = np.random.default_rng(seed)
    means = []
    at_once = max(1, DRAWN_AT_ONCE // len(sums))
    for start in range(0, num_draws, at_once):
        drawn = rng.integers(0, len(sums), (min(at_once, num_draws - start), len(sums)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def checked(scores_QN: np.ndarray, right_QN: np.ndarray, ties: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float32 and labels as bool.

    Raises:
        InputError: shapes that differ or are not [Q, N] with Q and N at least 1, a NaN, or an unknown tie policy.
    """
    scores, right = np.asarray(scores_QN, np.float32), np.asarray(right_QN, bool)
    if ties not in get_args(Ties):
        raise InputError(f"ties is {ties!r}; wanted one of {get_args(Ties)}")
    if scores.ndim != 2 or scores.shape != right.shape or not scores.size:
        raise InputError(f"scores and labels must both be [queries, candidates], got {scores.shape} and {right.shape}")
    if np.isnan(scores).any():
        raise InputError(f"scores of query {int(np.isnan(scores).any(1).argmax())} hold NaN; wanted numbers")
    return scores, right


def require_right(right_QN: np.ndarray) -> None:
    """Raise InputError for the first query without a right candidate."""
    without = ~right_QN.any(1)
    if without.any():
        raise InputError(
            f"query {int(without.argmax())} has no right candidate ({int(without.sum())} in all have none)"
        )
