"""The thread that runs the scheduler's steps and answers the callers' futures.

It lives while there is work and ends with it. Callers wait when `max_pending_tokens` are waiting already, so memory does
not grow with the number of pairs asked for.

Source: own.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from ...errors import InputError
from .scheduler import Job, Scheduler, Share
from .scorer import Scorer


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate or pair: where it stood in the caller's list, and P(Yes), or what went wrong with it."""

    position: int
    score: float | None
    error: str | None = None


@dataclass(eq=False)
class Bag:
    """The pairs of one call."""

    num_pairs: int
    future: "Future[list[Ranked]]" = field(default_factory=Future)
    results: dict[int, Ranked] = field(default_factory=dict)
    waiting: set[Job] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Place:
    """What a job belongs to: the payload of the scheduler's jobs."""

    bag: Bag
    position: int
    # A scorer.Pair; the runner only hands it on.
    pair: object


class Runner:
    """Takes jobs from any number of threads; one thread of its own runs the model.

    Args:
        scorer: runs a step.
        scheduler: chooses it.
        max_pending_tokens: prompt tokens that may wait, counted as if nothing were shared; a pair that alone has more is
            let in when nothing waits.
    """

    def __init__(self, scorer: Scorer, scheduler: Scheduler, max_pending_tokens: int) -> None:
        if max_pending_tokens < 1:
            raise InputError(f"max_pending_tokens must be at least 1, got {max_pending_tokens}")
        self._scorer, self._scheduler, self._max_pending_tokens = scorer, scheduler, max_pending_tokens
        self._changed = Condition()
        self._thread: Thread | None = None
        self.num_pending_tokens = 0

    def open(self, bag: Bag) -> None:
        """Let a bag's cancellation take back its jobs."""
        bag.future.add_done_callback(lambda future: self._cancelled(bag) if future.cancelled() else None)

    def enqueue(self, bag: Bag, jobs: Sequence[Job]) -> None:
        """Hand jobs over, waiting for room; those of a bag that was cancelled or has failed are dropped."""
        todo = list(reversed(jobs))
        while todo:
            with self._changed:
                self._changed.wait_for(lambda: bag.future.done() or self._has_room(todo[-1]))
                if bag.future.done():
                    return
                fitting = []
                while todo and self._has_room(todo[-1]):
                    fitting.append(todo.pop())
                    self.num_pending_tokens += fitting[-1].num_tokens
                self._scheduler.add(fitting)
                bag.waiting.update(fitting)
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="harken-rerank")
                    self._thread.start()

    def note(self, results: Iterable[tuple[Bag, Ranked]]) -> None:
        """Take results; a bag whose last one is among them is answered."""
        with self._changed:
            complete = []
            for bag, ranked in results:
                bag.results[ranked.position] = ranked
                if len(bag.results) == bag.num_pairs:
                    complete.append(bag)
        for bag in complete:
            if bag.future.set_running_or_notify_cancel():
                bag.future.set_result([bag.results[i] for i in range(bag.num_pairs)])

    def _has_room(self, job: Job) -> bool:
        return self.num_pending_tokens == 0 or self.num_pending_tokens + job.num_tokens <= self._max_pending_tokens

    def _cancelled(self, bag: Bag) -> None:
        with self._changed:
            self.num_pending_tokens -= self._scheduler.cancel(bag.waiting)
            bag.waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while self._run_step():
            pass

    def _run_step(self) -> bool:
        """Whether there was a step to run. Once it has returned, nothing here holds the pairs and their sounds any more."""
        with self._changed:
            step = self._scheduler.next_step(self._scorer.kept.__contains__)
            held = self._scheduler.held
            if not step:
                self._scorer.hold_only(held)
                self._thread = None
                return False
        jobs = [job for share in step for job in share.jobs]
        try:
            results = self._score(step)
        except BaseException as error:  # handed to the callers that wait for it
            self._leave(jobs)
            self._fail({job.payload.bag for job in jobs}, error)
        else:
            self._leave(jobs)
            self.note((job.payload.bag, ranked) for job, ranked in zip(jobs, results))
        self._scorer.hold_only(held)
        return True

    def _score(self, step: list[Share]) -> list[Ranked]:
        """Results of a step in the order of its jobs. Where the model fails on it, every pair is tried by itself."""
        places = [job.payload for share in step for job in share.jobs]
        try:
            groups = [(share.prefix, [job.payload.pair for job in share.jobs]) for share in step]
            scores = [score for group in self._scorer.score(groups) for score in group]
        except RuntimeError as error:
            if len(places) == 1:
                return [Ranked(places[0].position, None, f"the model failed on this pair: {error}")]
            singles = [Share(share.prefix, [job], 0) for share in step for job in share.jobs]
            return [ranked for single in singles for ranked in self._score([single])]
        return [_ranked(place.position, score) for place, score in zip(places, scores)]

    def _leave(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            for job in jobs:
                job.payload.bag.waiting.discard(job)
                self.num_pending_tokens -= job.num_tokens
            self._changed.notify_all()

    def _fail(self, bags: Iterable[Bag], error: BaseException) -> None:
        for bag in bags:
            if bag.future.set_running_or_notify_cancel():
                bag.future.set_exception(error)
            self._cancelled(bag)


def _ranked(position: int, score: float) -> Ranked:
    if math.isfinite(score):
        return Ranked(position, score)
    return Ranked(position, None, f"the model's score is {score}, which says nothing")
