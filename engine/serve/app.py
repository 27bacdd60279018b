"""The application: its state, its routers, its errors.

Source: own.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ...errors import HarkenError
from . import routes
from .guard import Guard
from .limits import Limits
from .problems import Problem, problem_of
from .service import Service

LOG = logging.getLogger("harken.serve")


class Server:
    """The application's state: the service once it is loaded."""

    def __init__(self, load: Callable[[], Service], api_key: str | None) -> None:
        self._load, self._api_key = load, api_key
        self.service: Service | None = None
        self._failure: BaseException | None = None

    async def start(self) -> None:
        try:
            self.service = await asyncio.to_thread(self._load)
        except Exception as error:
            self._failure = error
            LOG.error("the model cannot be loaded: %s", error, exc_info=not isinstance(error, HarkenError))

    async def stop(self) -> None:
        service, self.service = self.service, None
        if service is not None:
            await asyncio.to_thread(service.close)

    def ready(self) -> Service:
        if self._failure is not None:
            raise Problem(503, "the model could not be loaded; the server's log says why", code="not_loaded")
        if self.service is None:
            raise Problem(503, "the model is being loaded", code="loading", retry_after_s=2)
        return self.service

    def check_key(self, request: Request) -> None:
        if self._api_key is None:
            return
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(key.encode(), self._api_key.encode()):
            raise Problem(401, "wanted the header Authorization: Bearer KEY", code="invalid_api_key")

    def note(self, route: str, status: int, seconds: float) -> None:
        if self.service is not None:
            self.service.metrics.requests.labels(route, status).inc()
            self.service.metrics.seconds.labels(route).observe(seconds)


def create_app(load: Callable[[], Service], *, limits: Limits | None = None, api_key: str | None = None) -> FastAPI:
    """The application.

    Args:
        load: makes the service; runs in a thread while /health answers already and /ready does not.
        limits: of request bodies; those of the service stand in the service.
        api_key: what clients must send; None: nothing.
    """
    server = Server(load, api_key)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(server.start())
        yield
        await loading
        await server.stop()

    app = FastAPI(
        title="harken",
        description="Vectors of sounds and sentences in one space, search and re-ranking.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HarkenError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_problem)
    app.include_router(routes.open_to_all)
    app.include_router(routes.api, dependencies=[Depends(server.check_key)])
    page = str(files(__package__) / "page")
    app.mount("/page", StaticFiles(directory=page), name="page")
    app.add_middleware(Guard, limits=limits or Limits(), note=server.note)
    plain = app.openapi
    app.openapi = lambda: _without_422(plain())  # type: ignore[method-assign]
    return app


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    problem = problem_of(error)
    if problem.status == 500:
        LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem.response()


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return Problem(400, f"{place or 'the body'}: {first['msg']}", param=place or None).response()


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = Problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response()
    response.headers.update(error.headers or {})
    return response


def _without_422(schema: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI says of its own validation answer is not true here: it is a 400 in the form of all errors."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    return schema
