"""What was used last, up to a number of bytes.

Source: own.
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from ...errors import InputError

Value = TypeVar("Value")


class ByteLRU(Generic[Value]):
    """Values by key; when they take more than `max_bytes` together, those longest unused go. Safe to use from threads.

    Raises:
        InputError: max_bytes is negative.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise InputError(f"a cache's bound must be 0 bytes or more, got {max_bytes}")
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Value, num_bytes: int) -> None:
        """Keep a value; one that is larger than the whole cache is not kept."""
        with self._lock:
            self._drop(key)
            if num_bytes > self.max_bytes:
                return
            while self.num_bytes + num_bytes > self.max_bytes:
                self._drop(next(iter(self._values)))
            self._values[key] = value, num_bytes
            self.num_bytes += num_bytes

    def _drop(self, key: Hashable) -> None:
        if key in self._values:
            self.num_bytes -= self._values.pop(key)[1]
