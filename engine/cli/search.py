"""`harken search`."""

from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import typer

from .app import AdapterOption, DeviceOption, DtypeOption, JsonOption, ModelOption, RecipeOption, app, load_model
from .output import SOME_FAILED, emit, errors_as_lines, fail, say


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Index folder")],
    text: Annotated[str | None, typer.Argument(help="What to look for")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound to look for instead of a text")] = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="Hits")] = 10,
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only rows such as \"duration_s < 10 and label == 'dog'\"; columns: harken info"),
    ] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Metadata to show, with commas between")] = None,
    play: Annotated[
        bool,
        typer.Option("--play", help="Print only paths to give to a player; sounds inside other files become WAV files"),
    ] = False,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For recipes that take one")] = None,
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the sounds of an index that answer a text or a sound. The model is the one the index was made with.

    A filter knows == != < <= > >=, in (...), is None, and, or, not, contains(uri, 'train/'), startswith and endswith.
    """
    if (text is None) == (audio is None):
        raise fail("search wants either a text or --audio FILE")
    with errors_as_lines():
        from ..index import Index

        opened = Index.open(index)
        mask = None if filter is None else opened.where(filter)
        shown = _columns(columns, opened.metadata.column_names)
        made_with = opened.made_with if model is None else {}
        loaded = load_model(
            model if model is not None else made_with.get("model"),
            recipe if recipe is not None else made_with.get("recipe"),
            adapter if adapter is not None else made_with.get("adapter"),
            device,
            dtype if dtype is not None else made_with.get("dtype"),
        )
        if text is not None:
            query = loaded.encode_text([text], instruction=instruction)
        else:
            query = loaded.encode_audio([audio], instruction=instruction)
        found = opened.search(query, k=k, filter=mask, fingerprint=loaded.fingerprint)[0]
        rows = opened.rows([hit.position for hit in found])
    if filter is not None and not found:
        say(f"no row satisfies {filter!r}")
    if play:
        _print_paths(rows)
        return
    hits = [{"rank": rank, "score": hit.score, "id": hit.id} for rank, hit in enumerate(found, 1)]
    if as_json:
        emit([{**hit, **row} for hit, row in zip(hits, rows)], as_json)
    else:
        emit([{**hit, **{name: row[name] for name in shown}} for hit, row in zip(hits, rows)], as_json)


def _columns(wanted: str | None, there: list[str]) -> list[str]:
    if wanted is None:
        return [name for name in ("duration_s",) if name in there]
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if unknown := [name for name in names if name not in there]:
        raise fail(f"there are no columns {unknown}; the index has {there}")
    return names


def _print_paths(rows: list[dict[str, Any]]) -> None:
    from ...errors import HarkenError
    from ..bulk.play import playable

    num_failed = 0
    for row in rows:
        try:
            print(playable(row, Path(gettempdir()) / "harken-play"))
        except HarkenError as error:
            num_failed += 1
            say(f"harken: {error}")
    if num_failed:
        raise typer.Exit(SOME_FAILED)
