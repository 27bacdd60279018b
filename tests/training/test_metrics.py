"""Ranks, recall, chance and intervals on matrices small enough to check by eye, and against ir-measures."""

from itertools import permutations

import numpy as np
import pytest

from harken.errors import InputError
from harken.training.metrics import bootstrap, chance, first_ranks, ordered_right, recall

SCORES = np.array([[0.9, 0.5, 0.5, 0.1], [0.3, 0.3, 0.3, 0.3], [0.2, 0.4, 0.8, 0.6]])
RIGHT = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]], bool)


@pytest.mark.parametrize(
    "ties, expected", [("pessimistic", [3, 4, 2]), ("optimistic", [2, 1, 2]), ("index", [3, 2, 2])]
)
def test_rank_of_the_best_right_one_under_each_tie_policy(ties, expected):
    assert first_ranks(SCORES, RIGHT, ties=ties).tolist() == expected


def test_a_constant_score_earns_nothing_by_default():
    right = np.eye(50, dtype=bool)
    assert recall(first_ranks(np.ones((50, 50)), right), 10) == 0.0


def test_two_right_ones_with_one_score_do_not_push_each_other_back():
    assert first_ranks(np.array([[0.5, 0.5, 0.1]]), np.array([[True, True, False]])).tolist() == [1]


def test_excluded_candidates_are_not_there():
    scores = np.array([[1.0, 0.2, 0.6], [0.9, 1.0, 0.1]])
    right = np.array([[1, 1, 0], [0, 1, 1]], bool)
    itself = np.array([[1, 0, 0], [0, 1, 0]], bool)
    assert first_ranks(scores, right, excluded_QN=itself).tolist() == [2, 2]


def test_float64_scores_that_float32_cannot_tell_apart_are_ties():
    scores = np.array([[0.5, 0.5 + 1e-12]])
    right = np.array([[False, True]])
    assert first_ranks(scores, right).tolist() == [2] and first_ranks(scores, right, ties="optimistic").tolist() == [1]


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "index"])
def test_order_and_rank_agree(ties):
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 4, (40, 12)) / 4, rng.random((40, 12)) < 0.3
    right[:, 3] = True
    first = ordered_right(scores, right, ties=ties).argmax(1) + 1
    assert first.tolist() == first_ranks(scores, right, ties=ties).tolist()


def test_recall_is_success_at_k_of_ir_measures():
    ir_measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    rng = np.random.default_rng(1)
    scores, right = rng.random((30, 40)).astype(np.float32), rng.random((30, 40)) < 0.05
    right[np.arange(30), rng.integers(0, 40, 30)] = True
    qrels = [ir_measures.Qrel(f"q{i}", f"d{j}", 1) for i, j in zip(*np.nonzero(right))]
    run = [ir_measures.ScoredDoc(f"q{i}", f"d{j}", float(scores[i, j])) for i in range(30) for j in range(40)]
    theirs = ir_measures.calc_aggregate([ir_measures.Success @ k for k in (1, 5, 10)], qrels, run)
    ranks = first_ranks(scores, right)
    for k in (1, 5, 10):
        assert recall(ranks, k) == pytest.approx(theirs[ir_measures.Success @ k])


def test_chance_is_the_mean_over_all_orders():
    right = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], bool)
    for k in (1, 2, 4, 9):
        hits = [[any(row[list(order)][:k]) for order in permutations(range(5))] for row in right]
        assert chance(right, k) == pytest.approx(np.mean(hits))


def test_interval_covers_the_mean_and_narrows_with_more_queries():
    rng = np.random.default_rng(2)
    small, large = rng.random(50) < 0.4, rng.random(5000) < 0.4
    (low, high), (lower, upper) = bootstrap(small), bootstrap(large)
    assert low < small.mean() < high and lower < large.mean() < upper
    assert upper - lower < (high - low) / 5
    assert bootstrap(small) == (low, high)


def test_queries_drawn_together_widen_the_interval():
    """Five captions with one outcome are one observation."""
    clips = np.random.default_rng(3).random(100) < 0.5
    values, clusters = np.repeat(clips, 5), np.repeat(np.arange(100), 5)
    alone, together = bootstrap(values), bootstrap(values, clusters_Q=clusters)
    assert (together[1] - together[0]) / (alone[1] - alone[0]) == pytest.approx(5**0.5, rel=0.1)


@pytest.mark.parametrize(
    "scores, right, words",
    [
        (np.zeros((2, 3)), np.zeros((2, 3), bool), "query 0 has no right candidate"),
        (np.array([[np.nan, 0.0]]), np.array([[True, False]]), "query 0 hold NaN"),
        (np.zeros((2, 3)), np.ones((3, 2), bool), r"\(2, 3\) and \(3, 2\)"),
        (np.zeros((0, 3)), np.ones((0, 3), bool), "candidates"),
    ],
)
def test_what_cannot_be_ranked_is_refused_by_name(scores, right, words):
    with pytest.raises(InputError, match=words):
        first_ranks(scores, right)
    with pytest.raises(InputError, match="ties is 'lucky'"):
        first_ranks(np.ones((1, 1)), np.ones((1, 1), bool), ties="lucky")
