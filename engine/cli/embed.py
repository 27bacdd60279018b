"""`harken embed`: sounds into a vectors file."""

from pathlib import Path
from typing import Annotated

import typer

from .app import (
    AdapterOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    RecipeOption,
    app,
    find_sounds,
    load_model,
)
from .output import SOME_FAILED, emit_facts, errors_as_lines, fail, progress_bar, say


@app.command()
def embed(
    sources: Annotated[list[Path], typer.Argument(help="Sound files, and folders that are searched for them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Vectors file to write (Parquet)")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens a batch")] = None,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Exit 0 even if sounds failed")] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed sounds into a vectors file. A sound that fails gets a row with its error; the others are not touched by it."""
    with errors_as_lines():
        from ..vectors import write_encoded

        if not out.absolute().parent.is_dir():
            raise fail(f"{out}: there is no folder {out.absolute().parent} to write it to")
        paths = find_sounds(sources)
        loaded = load_model(model, recipe, adapter, device, dtype, batch_tokens)
        with progress_bar("embedding", len(paths)) as advance:
            encoded = loaded.try_encode_audio(paths, progress=advance)
        write_encoded(out, [str(path) for path in paths], encoded, loaded)
    for failure in encoded.failures:
        say(f"failed: {failure.error}")
    facts = {
        "vectors": len(encoded.rows),
        "failed": len(encoded.failures),
        "seconds of sound": round(sum(encoded.durations_s), 2),
        "file": str(out),
        "fingerprint": str(loaded.fingerprint),
    }
    emit_facts(facts, as_json)
    if encoded.failures and not allow_errors:
        raise typer.Exit(SOME_FAILED)
