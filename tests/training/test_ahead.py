"""Batches come in order, one ahead, each drawn once; an error is raised where its step is asked for."""

import threading

import pytest

from harken.training.ahead import Ahead


def test_the_next_batch_is_drawn_while_this_one_is_used():
    drawn, ready = [], threading.Event()

    def draw(step):
        drawn.append(step)
        if step == 4:
            ready.set()
        return step * 10

    ahead = Ahead(draw, 6)
    assert ahead(3) == 30 and ready.wait(5)
    assert [ahead(4), ahead(5)] == [40, 50] and drawn == [3, 4, 5]
    # A resumed run begins anywhere.
    assert ahead(2) == 20


def test_an_error_is_raised_where_its_step_is_asked_for():
    def draw(step):
        if step == 1:
            raise ValueError("no such sound")
        return step

    ahead = Ahead(draw, 3)
    assert ahead(0) == 0
    with pytest.raises(ValueError, match="no such sound"):
        ahead(1)
