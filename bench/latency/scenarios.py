"""The four ways to load a system, by MLPerf's names and rules.

    SingleStream   one sample at a time; the next begins when the last is answered        p90 of the latency
    MultiStream    eight samples at a time; the next eight when the last are answered     p99 of the latency of a query
    Server         samples arrive by a Poisson process, whether the last is answered      most samples a second whose
                   or not; a latency runs from the arrival that was due, not from           p99 stays under a bound
                   when the system had time for it
    Offline        all samples at once                                                     samples a second

Every sample is issued equally often: orders are whole passes over the samples, each in another order.

Source: MLPerf Inference rules (SingleStream, MultiStream, Server, Offline; equal-issue mode for samples of unequal size).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...errors import InputError

SAMPLES_A_QUERY = 8
# Takes indices of samples, answers when all of them are embedded.
Embed = Callable[[Sequence[int]], object]
# Takes one index; the future is done when the sample is embedded.
Submit = Callable[[int], "Future[object]"]


class Clock(Protocol):
    """Seconds; a test's clock need not be the world's."""

    def now(self) -> float: ...

    def sleep_until(self, time_s: float) -> None: ...


class WallClock:
    """The clock on the wall."""

    def now(self) -> float:
        return time.perf_counter()

    def sleep_until(self, time_s: float) -> None:
        while (left := time_s - self.now()) > 0:
            time.sleep(left)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario measured: latencies in the order of the queries, and the seconds from first to last."""

    scenario: str
    num_samples: int
    seconds: float
    latencies_s: tuple[float, ...]
    # At which samples arrived; of the Server scenario alone.
    rate_per_s: float | None = None

    @property
    def samples_per_s(self) -> float:
        return self.num_samples / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The nearest-rank percentile of the latencies, in milliseconds."""
        ranked = sorted(self.latencies_s)
        return 1e3 * ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]

    def to_dict(self) -> dict[str, float | int | str]:
        return {
            "scenario": self.scenario,
            "samples": self.num_samples,
            "seconds": self.seconds,
            "samples_per_s": self.samples_per_s,
            **({} if self.rate_per_s is None else {"rate_per_s": self.rate_per_s}),
            **{f"p{p}_ms": self.percentile_ms(p) for p in (50, 90, 99)},
        }


def equal_issue(num_samples: int, num_issues: int, seed: int) -> Iterator[int]:
    """num_issues indices: whole passes over the samples, each shuffled; the count is rounded up to whole passes.

    Raises:
        InputError: nothing to issue.
    """
    if num_samples < 1 or num_issues < 1:
        raise InputError(f"wanted at least one sample and one issue, got {num_samples} and {num_issues}")
    rng = np.random.default_rng(seed)
    for _ in range(math.ceil(num_issues / num_samples)):
        yield from rng.permutation(num_samples).tolist()


def single_stream(embed: Embed, order: Sequence[int], clock: Clock) -> Outcome:
    """One sample after the other."""
    return _streamed("SingleStream", embed, [[i] for i in order], clock)


def multi_stream(embed: Embed, order: Sequence[int], clock: Clock) -> Outcome:
    """Eight samples after eight; a rest of fewer is left out."""
    whole = len(order) // SAMPLES_A_QUERY * SAMPLES_A_QUERY
    if not whole:
        raise InputError(f"MultiStream wants at least {SAMPLES_A_QUERY} samples, got {len(order)}")
    queries = [order[i : i + SAMPLES_A_QUERY] for i in range(0, whole, SAMPLES_A_QUERY)]
    return _streamed("MultiStream", embed, queries, clock)


def offline(embed: Embed, order: Sequence[int], clock: Clock) -> Outcome:
    """All samples in one query."""
    return _streamed("Offline", embed, [order], clock)


def server(submit: Submit, order: Sequence[int], rate_per_s: float, clock: Clock, seed: int) -> Outcome:
    """Samples at times drawn from a Poisson process of rate_per_s.

    Raises:
        InputError: the rate is not above 0.
    """
    if not rate_per_s > 0:
        raise InputError(f"rate_per_s is {rate_per_s}; wanted above 0")
    gaps = np.random.default_rng(seed).exponential(1 / rate_per_s, len(order))
    start_s = clock.now()
    due_s = (start_s + np.cumsum(gaps)).tolist()
    done_s = [math.inf] * len(order)

    def stamp(number: int) -> Callable[[object], None]:
        def write(_: object) -> None:
            done_s[number] = clock.now()

        return write

    futures = []
    for number, index in enumerate(order):
        clock.sleep_until(due_s[number])
        futures.append(submit(index))
        futures[-1].add_done_callback(stamp(number))
    for future in futures:
        future.result()
    latencies = tuple(done - due for done, due in zip(done_s, due_s))
    return Outcome("Server", len(order), max(done_s) - start_s, latencies, rate_per_s)


def max_rate(run: Callable[[float], Outcome], bound_ms: float, first_per_s: float, steps: int = 5) -> list[Outcome]:
    """The largest rate whose p99 stays within a bound, by doubling and then bisection.

    Args:
        run: plays the Server scenario at a rate.
        bound_ms: on the p99.
        first_per_s: where to begin; halved while it is too much, at most ten times.
        steps: of bisection between the largest that kept the bound and the smallest that did not.

    Returns: outcomes that kept the bound, slowest rate first; empty where none did.
    """
    good: list[tuple[float, Outcome]] = []
    low, high, rate = 0.0, math.inf, first_per_s
    for _ in range(10):
        outcome = run(rate)
        if outcome.percentile_ms(99) <= bound_ms:
            good.append((rate, outcome))
            low, rate = rate, rate * 2
        else:
            high, rate = rate, rate / 2
        if 0 < low and high < math.inf:
            break
    for _ in range(steps if 0 < low and high < math.inf else 0):
        rate = (low + high) / 2
        outcome = run(rate)
        if outcome.percentile_ms(99) <= bound_ms:
            good.append((rate, outcome))
            low = rate
        else:
            high = rate
    return [outcome for _, outcome in sorted(good, key=lambda pair: pair[0])]


def _streamed(scenario: str, embed: Embed, queries: Sequence[Sequence[int]], clock: Clock) -> Outcome:
    latencies, first_s = [], clock.now()
    for query in queries:
        start_s = clock.now()
        embed(query)
        latencies.append(clock.now() - start_s)
    return Outcome(scenario, sum(map(len, queries)), clock.now() - first_s, tuple(latencies))
