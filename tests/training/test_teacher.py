"""Out-of-fold scores: a clip is scored by models that never saw it or its caption, and still finds what it resembles."""

import numpy as np
import pytest

from harken.errors import FileFormatError, InputError
from harken.training.data import Row
from harken.training.teacher import NUM_FOLDS, Teacher, _folds, described, out_of_fold


def test_clips_of_one_caption_share_a_fold_and_all_folds_are_used():
    captions = [f"caption {i // 2}" for i in range(40)]
    folds = _folds(captions, 0)
    assert (folds[::2] == folds[1::2]).all() and set(folds) == set(range(NUM_FOLDS))
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 2


def test_a_clip_is_scored_without_having_been_seen():
    """Two kinds of sound and caption; within a kind nothing tells clips apart, so that only memory could find its own."""
    rng = np.random.default_rng(0)
    rows = [Row(str(i), None, long=(f"{'dog' if i % 2 else 'rain'} {i}",)) for i in range(64)]
    kind = np.array([[1.0, 0.0] if i % 2 else [0.0, 1.0] for i in range(64)], np.float32)
    sounds = np.concatenate([4 * kind, rng.normal(size=(64, 30)).astype(np.float32)], 1)
    texts = [row.captions[0] for row in rows]
    states = np.concatenate([4 * kind, rng.normal(size=(64, 20)).astype(np.float32)], 1)
    scores = out_of_fold(sounds, rows, texts, states, seed=0, steps=40)
    same = (np.arange(64)[:, None] - np.arange(64)) % 2 == 0
    assert scores[same].mean() > scores[~same].mean() + 1
    assert (scores.argmax(1) == np.arange(64)).mean() < 0.25


def test_sounds_are_described_by_mean_deviation_and_percentile():
    rows = np.arange(40, dtype=np.float16).reshape(20, 2)
    found = described([rows])
    assert found.shape == (1, 6)
    np.testing.assert_allclose(found[0, :2], [19.0, 20.0])
    np.testing.assert_allclose(found[0, 2:4], np.std([2 * i for i in range(20)]), rtol=1e-6)
    np.testing.assert_allclose(found[0, 4:], [36.1, 37.1], rtol=1e-5)


def test_scores_are_found_by_row_and_text(tmp_path):
    np.savez(tmp_path / "t.npz", ids=["a", "b"], texts=["x", "y", "z"], scores=np.arange(6.0).reshape(2, 3))
    teacher = Teacher(tmp_path / "t.npz")
    np.testing.assert_array_equal(teacher.of([Row("b", None), Row("a", None)], ["z", "x"]), [[5, 3], [2, 0]])
    with pytest.raises(InputError, match="t.npz: has no scores of 'w'; make it anew"):
        teacher.of([Row("a", None)], ["w"])
    np.savez(tmp_path / "bad.npz", ids=["a"], texts=["x"], scores=np.zeros((2, 1)))
    with pytest.raises(FileFormatError, match=r"bad.npz: scores have shape \(2, 1\)"):
        Teacher(tmp_path / "bad.npz")
    with pytest.raises(FileFormatError, match="none.npz: cannot be read"):
        Teacher(tmp_path / "none.npz")
