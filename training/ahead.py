"""The next step's batch is drawn and its sounds are decoded while this step runs.

Source: own.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls `draw(step)` one step ahead, in a thread of its own; what it gives depends on the step alone.

    Args:
        draw: makes a step's batch.
        num_steps: none is drawn from here on.
    """

    def __init__(self, draw: Callable[[int], T], num_steps: int) -> None:
        self._draw, self._num_steps = draw, num_steps
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._next: tuple[int, Future[T]] | None = None

    def __call__(self, step: int) -> T:
        """The batch of a step; an error of its drawing is raised here."""
        if self._next is None or self._next[0] != step:
            self._next = step, self._thread.submit(self._draw, step)
        batch = self._next[1].result()
        following = step + 1
        self._next = (following, self._thread.submit(self._draw, following)) if following < self._num_steps else None
        return batch
