"""The routes.

Source: OpenAI's embeddings and models, Cohere's and Jina's rerank; search is own.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse, Response

from . import schemas as s
from .answers import embeddings_answer
from .inputs import Item, items_of, of_document
from .problems import Problem
from .service import Service

Answer = TypeVar("Answer")
# How often a waiting route looks whether its client is still there.
LOOK_S = 0.05
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": s.ErrorAnswer, "description": said}
    for status, said in {
        400: "The request is wrong; the error names the item",
        401: "The API key is missing or wrong",
        404: "There is no such thing here",
        413: "The request asks for more than one request may",
        429: "Too much waits; try again after Retry-After seconds",
        500: "The server failed",
        503: "The model is still loading, or the server is being stopped",
    }.items()
}

open_to_all = APIRouter()
api = APIRouter(responses=ERRORS)


@open_to_all.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The search page."""
    return FileResponse(str(files(__package__) / "page" / "index.html"))


@open_to_all.get("/docs", include_in_schema=False)
def docs() -> FileResponse:
    """The API, for people."""
    return FileResponse(str(files(__package__) / "page" / "docs.html"))


@open_to_all.get("/health")
def health() -> s.Health:
    """The process is alive."""
    return s.Health()


@open_to_all.get("/ready", responses={503: ERRORS[503]})
def ready(request: Request) -> s.Health:
    """The model is loaded and takes requests."""
    _service(request)
    return s.Health()


@api.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Counters in Prometheus' text form."""
    return PlainTextResponse(_service(request).metrics.page(), media_type="text/plain; version=0.0.4")


@api.get("/v1/models")
def models(request: Request) -> s.Models:
    """The one model that is served."""
    service = _service(request)
    model = service.embedder
    one = s.Model(id=service.name, dimensions=model.dim, recipe=model.recipe.name, fingerprint=str(model.fingerprint))
    return s.Models(data=[one])


@api.post("/v1/embeddings", response_model=s.EmbeddingsAnswer)
async def embeddings(request: Request, body: s.EmbeddingsRequest) -> Response:
    """Vectors of texts, token ids, sounds, or sounds with a text."""
    service = _service(request)
    param = "input" if body.messages is None else "messages"
    items = items_of(body, service.decode_tokens)
    dimensions = _dimensions(body.dimensions, service)
    embedded = await _unless_gone(request, service.embed(items, body.instruction, param))
    return embeddings_answer(service.name, embedded, dimensions, body.encoding_format, body.skip_errors, param)


@api.post("/v1/embeddings/files", response_model=s.EmbeddingsAnswer)
async def embeddings_of_files(
    request: Request,
    files: Annotated[list[UploadFile], "Sound files"],
    instruction: Annotated[str | None, Form()] = None,
    dimensions: Annotated[int | None, Form(ge=1)] = None,
    encoding_format: Annotated[str, Form(pattern="^(float|base64)$")] = "float",
    skip_errors: Annotated[bool, Form()] = False,
) -> Response:
    """Vectors of uploaded sound files."""
    service = _service(request)
    width = _dimensions(dimensions, service)
    items = [Item(sound=await file.read()) for file in files]
    embedded = await _unless_gone(request, service.embed(items, instruction, "files"))
    return embeddings_answer(service.name, embedded, width, encoding_format, skip_errors, "files")


@api.post("/v1/rerank")
async def rerank(request: Request, body: s.RerankRequest) -> s.RerankAnswer:
    """Order documents by the reranker's P(Yes): sounds for a text, or texts for a sound."""
    service = _service(request)
    query = of_document(body.query, "query")
    documents = [of_document(document, f"documents[{i}]") for i, document in enumerate(body.documents)]
    ranked = await _unless_gone(request, service.rerank(query, documents))
    good = sorted((r for r in ranked if r.score is not None), key=lambda r: (-(r.score or 0.0), r.position))
    shown = lambda i: body.documents[i] if body.return_documents else None
    return s.RerankAnswer(
        id=f"rerank-{uuid.uuid4().hex}",
        model=service.name,
        results=[
            s.RerankRow(index=r.position, relevance_score=r.score or 0.0, document=shown(r.position))
            for r in good[: body.top_n]
        ],
        errors=[s.ItemError(index=r.position, message=r.error or "") for r in ranked if r.score is None],
    )


@api.post("/v1/search")
async def search(request: Request, body: s.SearchRequest) -> s.SearchAnswer:
    """Find the sounds of the index that answer a text or a sound, or are like one of them."""
    if (body.query is None) == (body.like is None):
        raise Problem(400, "wanted exactly one of query and like", param="query")
    query = body.like if body.query is None else of_document(body.query, "query")
    assert query is not None
    return await _search(
        request,
        query,
        body.k,
        instruction=body.instruction,
        tags=body.tags,
        filter=body.filter,
        rerank=body.rerank,
    )


@api.post("/v1/search/file")
async def search_file(
    request: Request,
    file: UploadFile,
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    tags: Annotated[list[str], Form()] = [],  # noqa: B006  (FastAPI copies it)
    instruction: Annotated[str | None, Form()] = None,
) -> s.SearchAnswer:
    """Find the sounds of the index that are like an uploaded file."""
    return await _search(request, Item(sound=await file.read()), k, instruction=instruction, tags=tags)


@api.get("/v1/index")
def index(request: Request) -> dict[str, Any]:
    """What is searched: how many sounds, their tags, and what the model takes."""
    service = _service(request)
    takes_instruction = "{instruction}" in (service.embedder.recipe.text_template or "")
    catalog = service.catalog
    return {
        "sounds": 0 if catalog is None else len(catalog),
        "tags": [] if catalog is None else catalog.tags[:60],
        "model": service.name,
        "instruction": takes_instruction,
        "reranker": service.reranker is not None,
    }


@api.get("/v1/sounds/{position}/audio", response_class=FileResponse)
def audio(request: Request, position: int) -> FileResponse:
    """The file of a sound of the index."""
    catalog = _service(request).catalog
    path = None if catalog is None else catalog.file(position)
    if path is None:
        raise Problem(404, f"there is no file of sound {position} here")
    return FileResponse(path, filename=path.name, content_disposition_type="inline")


@api.get("/v1/sounds/{position}/peaks")
def peaks(request: Request, position: Annotated[int, "Row of the index"]) -> list[float]:
    """The loudest sample of each of 96 equal parts of a sound, 0 to 1: its shape for a picture."""
    catalog = _service(request).catalog
    if catalog is None or catalog.file(position) is None:
        raise Problem(404, f"there is no file of sound {position} here")
    return catalog.peaks(position)


def _service(request: Request) -> Service:
    return request.app.state.server.ready()


async def _search(request: Request, query: Item | int, k: int, **options: Any) -> s.SearchAnswer:
    start_s = time.perf_counter()
    hits = await _unless_gone(request, _service(request).search(query, k, **options))
    took_ms = 1e3 * (time.perf_counter() - start_s)
    return s.SearchAnswer(hits=[s.SearchRow(**hit) for hit in hits], took_ms=round(took_ms, 2))


def _dimensions(asked: int | None, service: Service) -> int:
    dim = service.embedder.dim
    if asked is not None and asked > dim:
        raise Problem(400, f"dimensions is {asked}; this model's vectors have {dim}", param="dimensions")
    return asked or dim


async def _unless_gone(request: Request, work: Awaitable[Answer]) -> Answer:
    """Await the work; when the client goes away, cancel it, which takes its items out of the queue."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_S)
            if not task.done() and await request.is_disconnected():
                raise Problem(499, "the client went away")
        return task.result()
    finally:
        task.cancel()
