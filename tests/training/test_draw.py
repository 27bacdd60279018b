"""Batches follow from the seed and the step; no two items share their randomness; kinds of text come as they are weighted."""

import numpy as np
import pytest

from harken.errors import InputError
from harken.training.data import Row
from harken.training.draw import ITEM, BatchSettings, crop, draw_rows, draw_text, fitting, rng_of

ROWS = [
    Row(str(i), None, long=(f"long {i}", f"more {i}"), short=(f"short {i}",), tags=("dog", "bark")) for i in range(10)
]


def test_an_epoch_has_every_row_once_and_the_next_another_order():
    steps = [[row.id for row in draw_rows(ROWS, step, 0, 5)] for step in range(4)]
    assert sorted(steps[0] + steps[1]) == sorted(row.id for row in ROWS)
    assert steps[0] + steps[1] != steps[2] + steps[3]
    assert steps == [[row.id for row in draw_rows(ROWS, step, 0, 5)] for step in range(4)]


def test_items_are_not_seeded_alike():
    drawn = [rng_of(0, ITEM, step, place).random() for step in range(20) for place in range(20)]
    assert len(set(drawn)) == 400 and abs(np.mean(drawn) - 0.5) < 0.06
    kinds = {draw_text(ROWS[0], rng_of(0, ITEM, 3, place), BatchSettings().kinds)[0] for place in range(20)}
    assert kinds == {"long", "short", "tags"}


def test_kinds_come_as_often_as_they_are_weighted():
    kinds = {"long": 3.0, "tags": 1.0}
    drawn = [draw_text(ROWS[0], rng_of(0, ITEM, 0, place), kinds)[0] for place in range(400)]
    assert set(drawn) == {"long", "tags"} and 0.68 < drawn.count("long") / 400 < 0.82


def test_a_row_without_tags_gives_what_it_has():
    row = Row("x", None, long=("only",))
    assert draw_text(row, rng_of(0, ITEM), BatchSettings().kinds) == ("long", "only")
    with pytest.raises(InputError, match="'x' has no other text"):
        draw_text(row, rng_of(0, ITEM), BatchSettings().kinds, taken="only")


def test_texts_that_fit_another_row_are_known():
    rows = [Row("a", None, long=("x", "y")), Row("b", None, long=("y",)), Row("c", None, long=("z",))]
    assert fitting(rows, ["x", "y", "z"]).tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_a_crop_is_a_part_and_a_blank_span_is_zero():
    features = np.arange(1, 41, dtype=np.float16)[:, None].repeat(3, 1)
    settings = BatchSettings(max_rows=10, mask_probability=1.0, max_masked=0.5)
    starts = set()
    for place in range(50):
        got = crop(features, rng_of(0, ITEM, place), settings)
        blank = (got == 0).all(1)
        assert got.shape == (10, 3) and 1 <= blank.sum() <= 5
        kept = np.flatnonzero(~blank)
        starts.add(int(got[kept[0], 0]) - kept[0])
        assert (got[kept, 0] - kept == got[kept[0], 0] - kept[0]).all()
    assert len(starts) > 15 and features[0, 0] == 1


def test_wrong_numbers_are_named():
    with pytest.raises(InputError, match="batch_size is 1"):
        BatchSettings(batch_size=1)
    with pytest.raises(InputError, match="kinds"):
        BatchSettings(kinds={"poem": 1.0})
    with pytest.raises(InputError, match="10 rows to train on"):
        draw_rows(ROWS, 0, 0, 11)
