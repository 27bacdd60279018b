"""The papers' measures on matrices small enough to check by hand, and against ir-measures and scikit-learn."""

import numpy as np
import pytest

from harken.bench.quality.metrics import (
    average_precision,
    average_uiq,
    chosen_right,
    hard_negative_measures,
    mmd,
    target_and_negative_ranks,
    wilcoxon,
)
from harken.errors import InputError

from ...tolerances import MMD_OF_ITSELF

# Right at ranks 1, 3 and 6 of 6.
SCORES = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
RIGHT = np.array([[1, 0, 1, 0, 0, 1]], bool)


def test_average_precision_by_hand():
    assert average_precision(SCORES, RIGHT) == pytest.approx([(1 / 1 + 2 / 3 + 3 / 6) / 3])
    assert average_precision(SCORES, RIGHT, k=4) == pytest.approx([(1 / 1 + 2 / 3) / 3])
    assert average_precision(SCORES, RIGHT, k=4, divide_by="hits") == pytest.approx([(1 / 1 + 2 / 3) / 2])


def test_one_right_caption_gives_the_reciprocal_rank_up_to_k():
    scores = np.arange(20, 0, -1.0)[None].repeat(3, 0)
    right = np.zeros((3, 20), bool)
    right[[0, 1, 2], [0, 3, 10]] = True
    assert average_precision(scores, right, k=10) == pytest.approx([1, 1 / 4, 0])


def test_published_convention_divides_by_five_even_where_one_of_five_is_found():
    """So mAP@10 can lie below R@1, as in Robust-ATR's Clotho row."""
    scores, right = np.arange(100, 0, -1.0)[None], np.zeros((1, 100), bool)
    right[0, [0, 50, 60, 70, 80]] = True
    assert average_precision(scores, right, k=10) == pytest.approx([0.2])
    assert average_precision(scores, right, k=10, divide_by="hits") == pytest.approx([1.0])


def test_average_precision_is_that_of_other_libraries():
    ir_measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    scores, right = rng.random((25, 60)).astype(np.float32), rng.random((25, 60)) < 0.1
    right[:, 0] = True
    ours = average_precision(scores, right)
    assert ours == pytest.approx([sklearn.average_precision_score(r, s) for r, s in zip(right, scores)], abs=1e-6)
    qrels = [ir_measures.Qrel(f"{i}", f"{j}", 1) for i, j in zip(*np.nonzero(right))]
    run = [ir_measures.ScoredDoc(f"{i}", f"{j}", float(scores[i, j])) for i in range(25) for j in range(60)]
    theirs = {
        m: {int(v.query_id): v.value for v in ir_measures.iter_calc([m], qrels, run)}
        for m in (ir_measures.AP, ir_measures.AP @ 10)
    }
    assert ours == pytest.approx([theirs[ir_measures.AP][i] for i in range(25)], abs=1e-6)
    cut = average_precision(scores, right, k=10)
    assert cut == pytest.approx([theirs[ir_measures.AP @ 10][i] for i in range(25)], abs=1e-6)


@pytest.mark.parametrize("ties, expected", [("pessimistic", 1 / 3), ("optimistic", 1.0), ("index", 1 / 2)])
def test_ties_in_average_precision(ties, expected):
    assert average_precision(np.ones((1, 3)), np.array([[0, 1, 0]], bool), ties=ties) == pytest.approx([expected])


def test_hard_negative_measures_by_hand():
    scores = np.array([[9, 8, 7, 1], [7, 9, 8, 1], [9, 8, 7, 1]], float)
    target, negative = target_and_negative_ranks(scores, np.array([0, 0, 2]), np.array([3, 1, 0]))
    assert target.tolist() == [1, 3, 3] and negative.tolist() == [4, 1, 1]
    found = {name: values.mean() for name, values in hard_negative_measures(target, negative, k=3).items()}
    assert found == {
        "dRank": pytest.approx((3 - 2 - 2) / 3),
        "HNSR": pytest.approx(1 / 3),
        "HNSR@3": pytest.approx(1 / 3),
        "TFR": pytest.approx(1 / 3),
        "TFR@3": pytest.approx(1 / 3),
    }


def test_target_must_be_inside_and_the_negative_outside_of_k():
    target, negative = np.array([1, 10, 11, 1, 1]), np.array([2, 11, 12, 11, 10])
    found = hard_negative_measures(target, negative)
    assert found["HNSR@10"].tolist() == [False, True, False, True, False]
    assert found["TFR@10"].tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("ties, expected", [("pessimistic", (3, 1)), ("optimistic", (1, 1)), ("index", (2, 3))])
def test_a_negative_with_the_targets_score(ties, expected):
    scores = np.array([[0.5, 0.5, 0.5, 0.1]])
    ranks = target_and_negative_ranks(scores, np.array([1]), np.array([2]), ties=ties)
    assert tuple(int(r[0]) for r in ranks) == expected


def test_average_uiq_counts_the_negative_kind():
    """Published rows: LAION-CLAP's four R@5 and its 30.72 on negative queries make 38.01."""
    published = {"question": 38.65, "imperative": 37.06, "tagging": 42.71, "paraphrase": 40.92, "negative": 30.72}
    assert average_uiq(published) == pytest.approx(38.01, abs=5e-3)
    with pytest.raises(InputError, match="negative"):
        average_uiq({k: v for k, v in published.items() if k != "negative"})


def test_mmd_is_that_of_the_definition_in_loops():
    rng = np.random.default_rng(4)
    x, y, s = rng.normal(size=(7, 3)), rng.normal(1, 1, (5, 3)), 0.8
    k = lambda a, b: float(np.exp(-((a - b) ** 2).sum() / (2 * s * s)))
    mean = lambda p, q: np.mean([k(a, b) for a in p for b in q])
    biased = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    off = lambda p: np.mean([k(p[i], p[j]) for i in range(len(p)) for j in range(len(p)) if i != j])
    unbiased = off(x) + off(y) - 2 * mean(x, y)
    assert mmd(x, y, bandwidth=s, squared=True) == pytest.approx(biased, rel=1e-5)
    assert mmd(x, y, bandwidth=s) == pytest.approx(biased**0.5, rel=1e-5)
    assert mmd(x, y, bandwidth=s, unbiased=True, squared=True) == pytest.approx(unbiased, rel=1e-5)


def test_mmd_sees_a_gap_and_none_where_there_is_none():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 16))
    assert mmd(x, x) < MMD_OF_ITSELF
    assert mmd(x, rng.normal(size=(200, 16))) < 0.1 < mmd(x, rng.normal(1, 1, (200, 16)))


def test_choice_with_a_tie_is_wrong():
    scores = [np.array([0.1, 0.9]), np.array([0.5, 0.5, 0.1]), np.array([0.2, 0.1])]
    assert chosen_right(scores, [1, 0, 1]).tolist() == [True, False, False]


def test_wilcoxon_on_a_textbook_sample():
    pytest.importorskip("scipy", reason="scipy is not installed")
    # Differences 1 ... 8 with the signs below: W = 1 + 3 = 4 on the rarer side; exact p from 2^8 sign patterns.
    ours = np.array([1.0, 2, 3, 4, 5, 6, 7, 8]) * np.array([-1, 1, -1, 1, 1, 1, 1, 1])
    patterns = np.array(np.meshgrid(*[[0, 1]] * 8)).reshape(8, -1)
    sums = (patterns * np.arange(1, 9)[:, None]).sum(0)
    found = wilcoxon(ours, np.zeros(8))
    assert found["statistic"] == 4 and found["p"] == pytest.approx(2 * (sums <= 4).mean())
    with pytest.raises(InputError, match="same values"):
        wilcoxon(ours, ours)


def test_faults_are_named():
    with pytest.raises(InputError, match="query 0 has its target as hard negative"):
        target_and_negative_ranks(SCORES, np.array([2]), np.array([2]))
    with pytest.raises(InputError, match="negative columns"):
        target_and_negative_ranks(SCORES, np.array([2]), np.array([6]))
    with pytest.raises(InputError, match="query 0 has no right"):
        average_precision(SCORES, np.zeros((1, 6), bool))
    with pytest.raises(InputError, match="answer is choice 2 of 2"):
        chosen_right([np.zeros(2)], [2])
