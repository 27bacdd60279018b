"""What stands before every request: the bound on its body, the count of bytes in flight, and the metrics.

Plain ASGI, so that a client that goes away can still be seen by the routes.

Source: own.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .limits import Limits
from .problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# (route, status, seconds)
Note = Callable[[str, int, float], None]


class Guard:
    """Refuses bodies that are too large before they are in memory, and tells `note` of every answer."""

    def __init__(self, app: Any, *, limits: Limits, note: Note) -> None:
        self._app, self._limits, self._note = app, limits, note
        self._inflight_bytes = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s, status, taken = time.monotonic(), 500, 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            size = len(message.get("body", b""))
            taken += size
            self._inflight_bytes += size
            self._check(taken, self._inflight_bytes)
            return message

        try:
            self._check(_content_length(scope), self._inflight_bytes + _content_length(scope))
            await self._app(scope, counted, noted)
        except Problem as problem:
            await problem.response()(scope, receive, noted)
        finally:
            self._inflight_bytes -= taken
            route = scope.get("route")
            self._note(getattr(route, "path", "other"), status, time.monotonic() - start_s)

    def _check(self, size: int, inflight: int) -> None:
        if size > self._limits.max_body_bytes:
            raise Problem(413, f"the body is larger than the {self._limits.max_body_bytes} bytes allowed")
        if inflight > self._limits.max_inflight_bytes and inflight > size:
            raise Problem(429, "too many bytes in flight", code="overloaded", retry_after_s=2)


def _content_length(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
