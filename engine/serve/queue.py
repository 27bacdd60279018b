"""The one queue before the model: items of all requests, packed into batches by tokens.

An item is due at the time it came plus what its request costs, so a small request overtakes a large one that came a little
earlier, and no request waits for ever. Items of one batch are of one kind (text or sound, and the instruction); what an
item's vector is does not depend on the others of its batch, which the engine promises.

Source: own.
"""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import Any

LOG = logging.getLogger("harken.serve")
# Tokens a second that are taken for true until a batch has run.
FIRST_RATE = 1000.0


class Overloaded(Exception):
    """No room for a request now; `retry_after_s` is when there may be."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the queue is full; room is likely in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Closed(Exception):
    """The queue takes no more work."""


@dataclass(order=True, slots=True)
class _Waiting:
    due_s: float
    number: int
    item: Any = field(compare=False)
    num_tokens: int = field(compare=False)
    future: "Future[Any]" = field(compare=False)


@dataclass(frozen=True, slots=True)
class Work:
    """One item of a request."""

    # Items of one kind may share a batch.
    kind: Hashable
    item: Any
    num_tokens: int


class BatchQueue:
    """Runs items of any number of callers, one batch after the other, in a thread of its own.

    Args:
        run: (kind, items) -> a result for each item, in their order.
        batch_tokens: tokens of one batch; an item that alone has more runs by itself.
        max_pending_tokens: tokens that may wait.
        on_batch: told of every batch's kind, items, tokens and seconds.
    """

    def __init__(
        self,
        run: Callable[[Any, list[Any]], Sequence[Any]],
        *,
        batch_tokens: int,
        max_pending_tokens: int,
        on_batch: Callable[[Any, int, int, float], None] = lambda kind, items, tokens, seconds: None,
    ) -> None:
        self._run, self._batch_tokens, self._max_pending_tokens = run, batch_tokens, max_pending_tokens
        self._on_batch = on_batch
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._changed = Condition()
        self._numbers = itertools.count()
        self._closed = False
        self._tokens_per_s = FIRST_RATE
        self.num_pending_tokens = 0
        self._thread = Thread(target=self._serve, name="harken-serve", daemon=True)
        self._thread.start()

    def submit(self, works: Sequence[Work]) -> "list[Future[Any]]":
        """Queue a request's items, all or none; cancelling a future takes its item back if it has not begun.

        Raises:
            Overloaded: more tokens wait than may. A request is always let in when nothing waits.
            Closed: `close` was called.
        """
        num_tokens = sum(work.num_tokens for work in works)
        with self._changed:
            if self._closed:
                raise Closed
            if self.num_pending_tokens and self.num_pending_tokens + num_tokens > self._max_pending_tokens:
                raise Overloaded(max(1.0, self.num_pending_tokens / self._tokens_per_s))
            due_s = time.monotonic() + num_tokens / self._tokens_per_s
            waiting = [_Waiting(due_s, next(self._numbers), work.item, work.num_tokens, Future()) for work in works]
            for work, entry in zip(works, waiting):
                heapq.heappush(self._waiting.setdefault(work.kind, []), entry)
            self.num_pending_tokens += num_tokens
            self._changed.notify_all()
        for entry in waiting:
            entry.future.add_done_callback(partial(self._ended, entry))
        return [entry.future for entry in waiting]

    def close(self, timeout_s: float) -> bool:
        """Take no more work, finish what waits; gives whether that was done within timeout_s. What was not is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            left = [entry for entries in self._waiting.values() for entry in entries]
        for entry in left:
            entry.future.cancel()
        return not self._thread.is_alive()

    def _ended(self, entry: _Waiting, future: "Future[Any]") -> None:
        if future.cancelled():
            with self._changed:
                self.num_pending_tokens -= entry.num_tokens
                self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                kind, batch = self._take()
            if batch:
                self._answer(kind, batch)

    def _take(self) -> tuple[Hashable, list[_Waiting]]:
        """The items that run next; those that were cancelled are passed over."""
        kind = min(self._waiting, key=lambda kind: self._waiting[kind][0])
        entries, num_tokens = self._waiting[kind], 0
        batch: list[_Waiting] = []
        while entries and (not batch or num_tokens + entries[0].num_tokens <= self._batch_tokens):
            entry = heapq.heappop(entries)
            if entry.future.set_running_or_notify_cancel():
                batch.append(entry)
                num_tokens += entry.num_tokens
        if not entries:
            del self._waiting[kind]
        return kind, batch

    def _answer(self, kind: Hashable, batch: list[_Waiting]) -> None:
        """Run a batch; where it fails, every item by itself, so that one item's fault is its own."""
        num_tokens = sum(entry.num_tokens for entry in batch)
        start_s = time.monotonic()
        try:
            results = self._run(kind, [entry.item for entry in batch])
        except Exception as error:  # whatever it is, the callers must be answered and the server go on
            if len(batch) > 1:
                for entry in batch:
                    self._answer(kind, [entry])
                return
            LOG.info("an item of kind %s failed: %s", kind, error)
            self._done(num_tokens)
            batch[0].future.set_exception(error)
            return
        seconds = time.monotonic() - start_s
        self._tokens_per_s += 0.2 * (num_tokens / max(seconds, 1e-6) - self._tokens_per_s)
        self._on_batch(kind, len(batch), num_tokens, seconds)
        self._done(num_tokens)
        for entry, result in zip(batch, results):
            entry.future.set_result(result)

    def _done(self, num_tokens: int) -> None:
        with self._changed:
            self.num_pending_tokens -= num_tokens
