"""`harken serve`: the HTTP server and the search page."""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import AdapterOption, DeviceOption, DtypeOption, ModelOption, RecipeOption, app, load_model
from .output import errors_as_lines, fail, say

if TYPE_CHECKING:
    from ..serve.limits import Limits
    from ..serve.service import Service

KEY = "HARKEN_API_KEY"


@app.command()
def serve(
    index: Annotated[
        Path | None, typer.Option("--index", help="Index to search; default: the packaged clips, embedded at start")
    ] = None,
    sounds: Annotated[
        Path | None, typer.Option("--sounds", help="Folder that holds the index's sounds, to play and rerank them")
    ] = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    reranker: Annotated[
        str | None,
        typer.Option("--reranker", help='Checkpoint of a reranker; "harken-mini": the built-in; default: none'),
    ] = None,
    reranker_adapter: Annotated[Path | None, typer.Option("--reranker-adapter", help="LoRA folder")] = None,
    reranker_recipe: Annotated[str | None, typer.Option("--reranker-recipe", help="Rerank recipe")] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="From `harken tune-fusion`")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Read sounds by URL from this host; may be repeated")
    ] = None,
    max_body_mb: Annotated[int, typer.Option("--max-body-mb", min=1, help="Of one request")] = 32,
    max_audio_s: Annotated[float, typer.Option("--max-audio-s", help="Seconds of sound of one request")] = 600.0,
    max_pending_tokens: Annotated[
        int, typer.Option("--max-pending-tokens", min=1, help="Tokens that may wait; past it: 429")
    ] = 1 << 18,
) -> None:
    """Serve embeddings, rerank and search over HTTP, with a search page. HARKEN_API_KEY asks clients for a key."""
    with errors_as_lines():
        try:
            import uvicorn

            from ..serve.app import create_app
            from ..serve.limits import Limits
        except ImportError as error:
            raise fail(f'{error.name} is missing; harken serve wants: pip install "harken[serve]"') from None
        limits = Limits(
            max_body_bytes=max_body_mb << 20, max_audio_s=max_audio_s, max_pending_tokens=max_pending_tokens
        )
        if index is not None and not index.is_dir():
            raise fail(f"{index}: there is no such index")
        chosen = {"model": model, "recipe": recipe, "adapter": adapter, "device": device, "dtype": dtype}
        rerank_with = {"path": reranker, "adapter": reranker_adapter, "recipe": reranker_recipe, "weights": weights}

        def load() -> "Service":
            return make_service(index, sounds, chosen, rerank_with, allow_host or [], limits)

        say(f"harken: http://{host}:{port}/ (stop with Ctrl-C)")
        uvicorn.run(
            create_app(load, limits=limits, api_key=os.environ.get(KEY) or None),
            host=host,
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=round(limits.shutdown_s),
        )


def make_service(
    index: Path | None,
    sounds: Path | None,
    chosen: dict[str, Any],
    rerank_with: dict[str, Any],
    hosts: list[str],
    limits: "Limits",
) -> "Service":
    """The service of the command's options."""
    from ..index import Index
    from ..rerank.fusion import FusionWeights
    from ..rerank.load import load_reranker
    from ..serve.catalog import Catalog, packaged_clips
    from ..serve.remote import Remote
    from ..serve.service import Service

    opened = None if index is None else Index.open(index)
    made_with = {} if opened is None or chosen["model"] is not None else opened.made_with
    options = {name: made_with.get(name) if value is None else value for name, value in chosen.items()}
    embedder = load_model(**options)
    reranker = None
    if rerank_with["path"] is not None:
        reranker = load_reranker(
            None if rerank_with["path"] == "harken-mini" else rerank_with["path"],
            adapter=rerank_with["adapter"],
            recipe=rerank_with["recipe"],
            device=options["device"],
            dtype=options["dtype"],
        )
    weights = None if rerank_with["weights"] is None else FusionWeights.load(rerank_with["weights"])
    packaged: AbstractContextManager[Path] = nullcontext(Path())
    if opened is None:
        packaged = as_file(files("harken.engine") / "assets" / "clips")
    with packaged as clips:
        catalog: Catalog = packaged_clips(embedder, clips) if opened is None else Catalog(opened, sounds)
    return Service(
        embedder,
        name=embedder.recipe.name,
        catalog=catalog,
        reranker=reranker,
        weights=weights or (None if reranker is None else reranker.fusion),
        limits=limits,
        remote=Remote(hosts),
    )
