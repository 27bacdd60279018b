"""A bounded queue between two threads that either end can close.

Source: own.
"""

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The other end is gone."""


class Channel(Generic[T]):
    """At most `room` items wait; `put` blocks while it is full, `get` while it is empty."""

    def __init__(self, room: int) -> None:
        self._room, self._items, self._changed = room, deque[T](), Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Raises Closed, or the error the channel was closed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._room)
            if self._closed:
                raise self._error or Closed()
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """The oldest item. Raises the error the channel was closed with, or Closed once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            if self._error is not None:
                raise self._error
            if not self._items:
                raise Closed()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self, error: BaseException | None = None) -> None:
        """No more items come; with an error both ends get it, at once."""
        with self._changed:
            self._closed = True
            self._error = self._error or error
            self._changed.notify_all()
