"""The papers' measures beyond recall; ranks, recall, chance and intervals are in training/metrics.py.

    AP_q      = 1/m_q sum_{right i} (right ones among the first i) / i
    AP@k_q    = 1/d_q sum_{right i <= k} (right ones among the first i) / i,   d_q = m_q ("right") or those found ("hits")
    HNSR      = P(r_N > r_T),   HNSR@k = P(r_T <= k and r_N > k)
    TFR       = P(r_T = 1),     TFR@k  = P(r_T = 1 and r_N > k),   dRank = mean(r_N - r_T)
    MMD^2     = mean k(x,x') + mean k(y,y') - 2 mean k(x,y),   k = exp(-|x-y|^2 / 2 s^2)

r_T is the target's rank and r_N that of its hard negative in the same ranking. Published mAP@10 from sounds to five captions
divides by the number of right captions; what Robust-ATR divides by on AudioCaps is not known, so both are here.

Source: spec/recipes.md F.1 (OEA for hard negatives, WavCaps and Robust-ATR for mAP@10, AuroLA for mAP and MMD).
Letters: Q queries, N candidates, C choices, D dimensions.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ...errors import InputError
from ...training.metrics import Ties, checked, ordered_right, require_right

Divisor = Literal["right", "hits"]
UIQ_KINDS = ("question", "imperative", "paraphrase", "tagging", "negative")


def average_precision(
    scores_QN: np.ndarray,
    right_QN: np.ndarray,
    *,
    k: int | None = None,
    divide_by: Divisor = "right",
    ties: Ties = "pessimistic",
) -> np.ndarray:
    """Average precision of each query.

    Args:
        scores_QN: higher is better.
        right_QN: bool.
        k: only the first k count; None: all.
        divide_by: "right": all right candidates of the query; "hits": those among the first k.
        ties: as `training.metrics.first_ranks`.

    Returns: [Q] float32; 0 for a query with no hit among the first k.

    Raises:
        InputError: a query without a right candidate, or what `first_ranks` refuses.
    """
    if divide_by not in ("right", "hits"):
        raise InputError(f"divide_by is {divide_by!r}; wanted 'right' or 'hits'")
    hits = ordered_right(scores_QN, right_QN, ties=ties)
    require_right(hits)
    num_right = hits.sum(1)
    hits = hits if k is None else hits[:, :k]
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    divisor = num_right if divide_by == "right" else np.maximum(hits.sum(1), 1)
    return ((precision * hits).sum(1) / divisor).astype(np.float32)


def target_and_negative_ranks(
    scores_QN: np.ndarray, target_Q: np.ndarray, negative_Q: np.ndarray, *, ties: Ties = "pessimistic"
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the target and of its hard negative in one ranking.

    Args:
        scores_QN: higher is better.
        target_Q, negative_Q: column of each.
        ties: "pessimistic": every equal score stands before the target, and the negative before its equals;
            "optimistic": both get 1 + the number of strictly greater scores; "index": position decides.

    Raises:
        InputError: a target that is its own negative, or columns out of range.
    """
    target, negative = np.asarray(target_Q), np.asarray(negative_Q)
    scores, _ = checked(scores_QN, np.zeros(np.shape(scores_QN), bool), ties)
    for name, columns in (("target", target), ("negative", negative)):
        if columns.shape != scores.shape[:1] or columns.min() < 0 or columns.max() >= scores.shape[1]:
            raise InputError(f"{name} columns must be {len(scores)} numbers in 0..{scores.shape[1] - 1}")
    if (same := target == negative).any():
        raise InputError(f"query {int(same.argmax())} has its target as hard negative")

    def ranks(columns: np.ndarray, policy: Ties) -> np.ndarray:
        own = np.take_along_axis(scores, columns[:, None], 1)
        greater = (scores > own).sum(1)
        if policy == "optimistic":
            return 1 + greater
        equal = scores == own
        if policy == "index":
            equal &= np.arange(scores.shape[1]) <= columns[:, None]
        return greater + equal.sum(1)

    return ranks(target, ties), ranks(negative, "optimistic" if ties == "pessimistic" else ties)


def hard_negative_measures(
    target_ranks_Q: np.ndarray, negative_ranks_Q: np.ndarray, *, k: int = 10
) -> dict[str, np.ndarray]:
    """Per query: dRank, HNSR, HNSR@k, TFR, TFR@k; their means are the published measures."""
    target, negative = np.asarray(target_ranks_Q), np.asarray(negative_ranks_Q)
    return {
        "dRank": negative - target,
        "HNSR": negative > target,
        f"HNSR@{k}": (target <= k) & (negative > k),
        "TFR": target == 1,
        f"TFR@{k}": (target == 1) & (negative > k),
    }


def average_uiq(recall_at_5: Mapping[str, float]) -> float:
    """Mean of R@5 over the five kinds of query, the negative one included.

    Raises:
        InputError: a kind is missing.
    """
    if missing := [kind for kind in UIQ_KINDS if kind not in recall_at_5]:
        raise InputError(f"average UIQ wants R@5 of {list(UIQ_KINDS)}; missing are {missing}")
    return float(np.mean([recall_at_5[kind] for kind in UIQ_KINDS]))


def mmd(
    x_ND: np.ndarray, y_MD: np.ndarray, *, bandwidth: float | None = None, unbiased: bool = False, squared: bool = False
) -> float:
    """Maximum mean discrepancy of two sets of vectors with an RBF kernel.

    Args:
        x_ND, y_MD: vectors; at least two of each.
        bandwidth: s; None: the median distance between different vectors of both sets together.
        unbiased: leave out k(x_i, x_i); the square can then be negative, and its root is 0.
        squared: give MMD^2.

    Raises:
        InputError: shapes that do not fit, or a bandwidth that is not positive.
    """
    x, y = np.asarray(x_ND, np.float32), np.asarray(y_MD, np.float32)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(f"mmd wants two sets of at least two vectors of one length, got {x.shape} and {y.shape}")
    both = np.concatenate([x, y])
    norms = (both**2).sum(1)
    distances = np.maximum(norms[:, None] + norms - 2 * both @ both.T, 0)
    if bandwidth is None:
        bandwidth = float(np.sqrt(np.median(distances[np.triu_indices(len(both), 1)])))
    if not bandwidth > 0:
        raise InputError(f"bandwidth is {bandwidth}; wanted a positive number (are all vectors the same?)")
    kernel = np.exp(-distances / (2 * bandwidth**2))
    n, m = len(x), len(y)

    def within(block: np.ndarray) -> float:
        total, size = float(block.sum(dtype=np.float64)), len(block)
        own = float(np.trace(block))
        return (total - own) / (size * (size - 1)) if unbiased else total / size**2

    across = float(kernel[:n, n:].sum(dtype=np.float64)) / (n * m)
    square = within(kernel[:n, :n]) + within(kernel[n:, n:]) - 2 * across
    return square if squared else float(np.sqrt(max(square, 0.0)))


def chosen_right(scores: list[np.ndarray], answers: list[int]) -> np.ndarray:
    """Whether each question's best choice is the answer; a wrong choice with the same score wins.

    Args:
        scores: for each question, one score a choice.
        answers: position of the answer.
    """
    right = []
    for i, (row, answer) in enumerate(zip(scores, answers)):
        if not 0 <= answer < len(row):
            raise InputError(f"question {i}: the answer is choice {answer} of {len(row)}")
        others = np.delete(np.asarray(row, np.float32), answer)
        right.append(bool((others < np.float32(row[answer])).all()))
    return np.array(right)


def wilcoxon(ours_Q: np.ndarray, theirs_Q: np.ndarray) -> dict[str, float]:
    """Signed-rank test, two-sided, of paired values (AP@10 of the same sounds under two systems).

    Returns: statistic, p, num_different (pairs with equal values carry no sign and are left out).

    Raises:
        InputError: the values are not pairs, or no pair differs.
    """
    try:
        from scipy.stats import wilcoxon as signed_rank
    except ImportError:
        raise InputError('the Wilcoxon test needs scipy: pip install "harken[quality]"') from None
    ours, theirs = np.asarray(ours_Q, np.float64), np.asarray(theirs_Q, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise InputError(f"the Wilcoxon test wants one value a query from both, got {ours.shape} and {theirs.shape}")
    different = int((ours != theirs).sum())
    if not different:
        raise InputError("the Wilcoxon test has nothing to compare: the two systems have the same values everywhere")
    statistic, p = signed_rank(ours, theirs, zero_method="wilcox", alternative="two-sided")
    return {"statistic": float(statistic), "p": float(p), "num_different": different}
