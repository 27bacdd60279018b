"""BM25 is its formula, in any script."""

import math

import numpy as np
import pytest

from harken.training.bm25 import bm25, words

pytest.importorskip("bm25s", reason="bm25s is not installed: pip install 'harken[quality]'")


def test_scores_are_the_formulas():
    scores = bm25(["Dog barks.", "nothing"], ["dog dog cat", "cat", "barks dog"])
    mean = (3 + 1 + 2) / 3
    part = lambda count, length: count / (count + 1.5 * (0.25 + 0.75 * length / mean))
    dog, barks = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    wanted = [[dog * part(2, 3), 0, barks * part(1, 2) + dog * part(1, 2)], [0, 0, 0]]
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_words_of_any_script():
    assert words("A dog's bark, 3 times: 狗!") == ["a", "dog", "s", "bark", "3", "times", "狗"]
    assert bm25(["x"], [""]).tolist() == [[0.0]]
