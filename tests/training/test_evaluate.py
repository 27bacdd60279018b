"""Recall and average precision of sounds and captions are what their definitions say."""

import numpy as np

from harken.training.data import Row
from harken.training.evaluate import average_precision_at_10, different_captions, report


def test_equal_captions_and_groups_count_as_right():
    said = [("x", "g"), ("x", "g"), ("y", "g"), ("z", "h")]
    rows = [Row(str(i), None, long=(caption, f"other {i}"), labels=(group,)) for i, (caption, group) in enumerate(said)]
    captions = different_captions(rows)
    assert captions == ["x", "y", "z"]
    # The second sound of "x" lies on its caption; the sound of "y" lies on the caption "x", of its group.
    audio = np.array([[0, 0, 1], [1, 0, 0], [0.9, 0.1, 0], [0, 1, 0]], np.float32)
    text = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32)
    results = report(rows, audio, captions, text)
    assert results["text->audio by caption"]["R@1"]["recall"] == 2 / 3
    assert results["text->audio by group"]["R@1"]["recall"] == 1
    assert results["audio->text by caption"]["R@1"]["recall"] == 2 / 4
    assert results["audio->text by group"]["R@1"]["recall"] == 1


def test_average_precision_takes_the_first_ten_and_divides_by_what_they_can_hold():
    right = np.zeros((2, 15), bool)
    right[0, [0, 2, 12]] = True
    right[1, :12] = True
    np.testing.assert_allclose(average_precision_at_10(right), [(1 + 2 / 3) / 3, 1])
