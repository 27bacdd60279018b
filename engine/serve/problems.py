"""Errors in the form that OpenAI's clients read.

    {"error": {"message": ..., "type": "invalid_request_error", "param": "input[3]", "code": null, "items": [...]}}

`items` lists every item that failed, by its index, where a request has several.

Source: OpenAI's API reference, error object; `items` is own.
"""

import math
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...errors import HarkenError
from .queue import Closed, Overloaded


class Problem(HTTPException):
    """A request that is answered with an error; an HTTPException, so that FastAPI lets it through while it reads a body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        items: list[dict[str, Any]] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.items, self.retry_after_s = items, retry_after_s

    def response(self) -> JSONResponse:
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error: dict[str, Any] = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        if self.items:
            error["items"] = self.items
        headers = {} if self.retry_after_s is None else {"Retry-After": str(math.ceil(self.retry_after_s))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": error}, self.status, headers)


def problem_of(error: BaseException) -> Problem:
    """How an exception is told to the client; what is not meant for it stays in the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HarkenError):
        return Problem(400, str(error))
    if isinstance(error, Overloaded):
        return Problem(429, str(error), code="overloaded", retry_after_s=error.retry_after_s)
    if isinstance(error, Closed):
        return Problem(503, "the server is being stopped", code="stopping", retry_after_s=5)
    return Problem(500, "the server failed at this; its log says why", code="internal_error")
