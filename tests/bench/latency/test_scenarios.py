"""The scenarios, on a clock of their own: a system that takes a known time has known latencies."""

from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest

from harken.bench.latency.scenarios import Outcome, equal_issue, max_rate, multi_stream, offline, server, single_stream
from harken.bench.latency.workload import draw_lengths, make_sentences, make_workload, write_files
from harken.engine.audio import load_audio
from harken.errors import InputError


class FakeClock:
    def __init__(self):
        self.time_s = 100.0

    def now(self):
        return self.time_s

    def sleep_until(self, time_s):
        self.time_s = max(self.time_s, time_s)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def embed(clock):
    """Takes as many seconds as the indices say."""

    def run(indices):
        clock.time_s += sum(indices)

    return run


@pytest.fixture
def submit(clock):
    """A server that does one thing at a time, a tenth of a second each."""

    def run(index):
        clock.time_s += 0.1
        future = Future()
        future.set_result(index)
        return future

    return run


def test_single_stream_times_every_sample(embed, clock):
    outcome = single_stream(embed, [3, 1, 2], clock)
    assert outcome.latencies_s == (3, 1, 2) and outcome.seconds == 6 and outcome.samples_per_s == 0.5
    assert [outcome.percentile_ms(p) for p in (1, 50, 67, 99)] == [1000, 2000, 3000, 3000]


def test_multi_stream_times_whole_eights(embed, clock):
    outcome = multi_stream(embed, [1] * 8 + [2] * 8 + [9] * 3, clock)
    assert outcome.latencies_s == (8, 16) and outcome.num_samples == 16
    with pytest.raises(InputError, match="at least 8 samples, got 7"):
        multi_stream(embed, [1] * 7, clock)


def test_offline_is_one_query(embed, clock):
    outcome = offline(embed, [1, 2, 3], clock)
    assert outcome.latencies_s == (6,) and outcome.num_samples == 3


def test_a_server_that_falls_behind_is_charged_for_the_waiting(submit, clock):
    """At twenty a second into a server of ten a second, the wait grows by half of what has passed."""
    slow, fast = (server(submit, range(400), rate, clock, seed=0) for rate in (1.0, 20.0))
    assert slow.percentile_ms(50) == pytest.approx(100, abs=1e-6)
    assert fast.percentile_ms(99) == pytest.approx(1e3 * 400 * (1 / 10 - 1 / 20), rel=0.15)
    assert fast.samples_per_s == pytest.approx(10, rel=0.05)


def test_arrivals_are_a_poisson_process(submit, clock):
    at = []
    server(lambda index: at.append(clock.now()) or submit(index), range(4000), 0.5, clock, seed=1)
    gaps = np.diff(at)
    assert gaps.mean() == pytest.approx(2.0, rel=0.05) and gaps.std() == pytest.approx(2.0, rel=0.08)


@pytest.mark.parametrize("first", [0.3, 4.0, 50.0])
def test_the_largest_rate_is_found_from_either_side(first):
    run = lambda rate: Outcome("Server", 1, 1.0, (0.1 if rate <= 7 else 0.9,) * round(100 * rate))
    found = max_rate(run, bound_ms=500, first_per_s=first, steps=8)
    rates = [len(outcome.latencies_s) / 100 for outcome in found]
    assert rates == sorted(rates) and 6.9 < rates[-1] <= 7


def test_no_rate_is_found_where_none_keeps_the_bound():
    assert max_rate(lambda rate: Outcome("Server", 1, 1.0, (9.0,)), 500, 4.0) == []


def test_every_sample_is_issued_equally_often():
    order = list(equal_issue(7, 30, seed=3))
    assert len(order) == 35 and set(Counter(order).values()) == {5}
    assert order == list(equal_issue(7, 30, seed=3)) != list(equal_issue(7, 30, seed=4))
    assert order[:7] != order[7:14]


@pytest.mark.parametrize(
    "lengths, low, high", [("10s", 10, 10), ("clotho", 15, 30), ("mix", 0.5, 30), ("0.5s", 0.5, 0.5)]
)
def test_lengths_are_what_their_name_says(lengths, low, high):
    drawn = draw_lengths(lengths, 500, seed=0)
    assert low <= min(drawn) and max(drawn) <= high
    assert lengths != "clotho" or np.mean(drawn) == pytest.approx(22.5, abs=0.5)


def test_unknown_lengths_are_refused():
    for lengths in ("10", "long", "-1s", "s"):
        with pytest.raises(InputError, match="wanted clotho, mix or seconds"):
            draw_lengths(lengths, 1, 0)


def test_files_hold_the_clips(tmp_path):
    workload = make_workload("mix", 5)
    for path, clip in zip(write_files(workload, tmp_path), workload.clips):
        assert np.abs(load_audio(path).samples - clip).max() < 1e-4
    assert workload.describe()["total_s"] == pytest.approx(sum(workload.durations_s))
    assert all(8 <= len(sentence.split()) <= 16 for sentence in make_sentences(20))
