"""The queue answers every item with its own result, whatever runs beside it, and is never fuller than it may be."""

import random
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

pytest.importorskip("prometheus_client", reason="the HTTP server is an extra: pip install harken[serve]")

from harken.engine.serve.queue import BatchQueue, Closed, Overloaded, Work


class Model:
    """Doubles numbers, and notes the batches; waits at a gate where it is closed."""

    def __init__(self):
        self.batches, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, kind, items):
        self.gate.wait(20)
        self.batches.append((kind, list(items)))
        if "bad" in items:
            raise RuntimeError("bad item")
        return [2 * item for item in items]


def test_many_callers_get_their_own_results():
    model = Model()
    queue = BatchQueue(model, batch_tokens=20, max_pending_tokens=10**6)

    def caller(seed):
        random_ = random.Random(seed)
        works = [Work(random_.choice("ab"), random_.randrange(10**6), random_.randint(1, 9)) for _ in range(40)]
        return all(f.result(20) == 2 * w.item for w, f in zip(works, queue.submit(works)))

    with ThreadPoolExecutor(16) as callers:
        assert all(callers.map(caller, range(32)))
    assert queue.num_pending_tokens == 0
    assert len(model.batches) < 32 * 40 / 2  # items of several callers do share batches
    assert queue.close(5)


def test_batches_are_of_one_kind_and_within_the_budget():
    model = Model()
    model.gate.clear()
    queue = BatchQueue(model, batch_tokens=10, max_pending_tokens=1000)
    works = [Work(("text", i % 2), i, 4) for i in range(20)] + [Work("large", 100, 50)]
    futures = queue.submit(works)
    model.gate.set()
    assert [f.result(20) for f in futures] == [2 * w.item for w in works]
    tokens = {w.item: w.num_tokens for w in works}
    kinds = {w.item: w.kind for w in works}
    for kind, items in model.batches:
        assert {kinds[item] for item in items} == {kind}
        assert len(items) == 1 or sum(tokens[item] for item in items) <= 10
    queue.close(5)


def test_an_item_that_fails_fails_alone():
    queue = BatchQueue(Model(), batch_tokens=100, max_pending_tokens=1000)
    futures = queue.submit([Work("a", item, 1) for item in (1, "bad", 3)])
    assert futures[0].result(5) == 2 and futures[2].result(5) == 6
    with pytest.raises(RuntimeError, match="bad item"):
        futures[1].result(5)
    assert queue.num_pending_tokens == 0
    queue.close(5)


def test_a_cancelled_item_leaves_the_queue():
    model = Model()
    model.gate.clear()
    queue = BatchQueue(model, batch_tokens=1, max_pending_tokens=1000)
    futures = queue.submit([Work("a", i, 1) for i in range(5)])
    while not futures[0].running():
        time.sleep(0.01)
    assert futures[3].cancel() and queue.num_pending_tokens == 4
    model.gate.set()
    assert [f.result(5) for i, f in enumerate(futures) if i != 3] == [0, 2, 4, 8]
    with pytest.raises(CancelledError):
        futures[3].result(5)
    assert [3] not in [items for _, items in model.batches] and queue.num_pending_tokens == 0
    queue.close(5)


def test_a_full_queue_turns_away_and_takes_again():
    model = Model()
    model.gate.clear()
    queue = BatchQueue(model, batch_tokens=10, max_pending_tokens=10)
    first = queue.submit([Work("a", 1, 50)])  # nothing waits, so it is let in
    with pytest.raises(Overloaded) as refused:
        queue.submit([Work("a", 2, 1)])
    assert refused.value.retry_after_s >= 1
    model.gate.set()
    assert first[0].result(5) == 2
    assert queue.submit([Work("a", 2, 1)])[0].result(5) == 4
    queue.close(5)


def test_a_small_request_overtakes_a_large_one():
    model = Model()
    model.gate.clear()
    queue = BatchQueue(model, batch_tokens=1, max_pending_tokens=10**6)
    blocker = queue.submit([Work("a", 0, 1)])
    while not blocker[0].running():
        time.sleep(0.01)
    large = queue.submit([Work("a", i, 1000) for i in range(1, 4)])
    small = queue.submit([Work("a", 9, 1)])
    model.gate.set()
    for future in [*large, *small]:
        future.result(5)
    assert [items[0] for _, items in model.batches] == [0, 9, 1, 2, 3]
    queue.close(5)


def test_closing_finishes_what_waits_and_takes_no_more():
    queue = BatchQueue(Model(), batch_tokens=1, max_pending_tokens=1000)
    futures = queue.submit([Work("a", i, 1) for i in range(20)])
    assert queue.close(10)
    assert [f.result(0) for f in futures] == [2 * i for i in range(20)]
    with pytest.raises(Closed):
        queue.submit([Work("a", 1, 1)])


def test_closing_in_time_cancels_what_is_left():
    model = Model()
    model.gate.clear()
    queue = BatchQueue(model, batch_tokens=1, max_pending_tokens=1000)
    futures = queue.submit([Work("a", i, 1) for i in range(3)])
    while not futures[0].running():
        time.sleep(0.01)
    assert not queue.close(0.05)
    assert futures[1].cancelled() and futures[2].cancelled()
    model.gate.set()
    assert futures[0].result(5) == 0
