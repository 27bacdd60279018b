"""Recall, its chance level and its interval are what their definitions say."""

import itertools

import numpy as np

from harken.training.data import Clip
from harken.training.evaluate import bootstrap, chance, different_captions, ranks, report


def test_ties_count_against_the_right_one():
    scores = np.array([[3.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    right = np.array([[False, True, False, False], [True, True, False, False]])
    assert ranks(scores, right).tolist() == [3, 3]


def test_chance_is_the_mean_over_all_orders():
    right = np.array([[True, False, False, False, False], [True, True, False, False, False]])
    orders = list(itertools.permutations(range(5)))
    want = np.mean([[bool(row[list(order[:2])].any()) for order in orders] for row in right])
    np.testing.assert_allclose(chance(right, 2), want)
    assert chance(right, 10) == 1.0


def test_the_interval_holds_the_mean_and_shrinks_with_more_queries():
    few, many = np.arange(40) < 10, np.arange(4000) < 1000
    (a, b), (c, d) = bootstrap(few), bootstrap(many)
    assert a < 0.25 < b and c < 0.25 < d and d - c < (b - a) / 3


def test_equal_captions_and_groups_count_as_right(tmp_path):
    said = [("x", "g"), ("x", "g"), ("y", "g"), ("z", "h")]
    clips = [Clip(str(i), tmp_path, caption, (caption,), (), group, "val") for i, (caption, group) in enumerate(said)]
    captions = different_captions(clips)
    assert captions == ["x", "y", "z"]
    # The second clip of "x" lies on its caption; the sound of "y" lies on the caption "x", of its group.
    audio = np.array([[0, 0, 1], [1, 0, 0], [0.9, 0.1, 0], [0, 1, 0]], np.float32)
    text = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32)
    results = report(clips, audio, captions, text)
    assert results["text->audio by caption"]["R@1"]["recall"] == 2 / 3
    assert results["text->audio by group"]["R@1"]["recall"] == 1
    assert results["audio->text by caption"]["R@1"]["recall"] == 2 / 4
    assert results["audio->text by group"]["R@1"]["recall"] == 1
