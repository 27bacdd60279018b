"""The command line. Exit codes: 0 all went well, 1 some items failed, 2 wrong usage or input.

Heavy imports stand inside the commands, so that `harken --help` answers at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_output import SOME_FAILED, emit, emit_facts, errors_as_lines, fail, progress_bar, say

if TYPE_CHECKING:
    from .embedder import Embedder

app = typer.Typer(
    help="Audio-text retrieval with multimodal LLMs: packed, exact, fast.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Checkpoint folder or hub repository; default: the built-in model")
]
RecipeOption = Annotated[str | None, typer.Option("--recipe", help="Name (see `harken recipes`) or JSON file")]
AdapterOption = Annotated[Path | None, typer.Option("--adapter", help="LoRA folder, merged at load")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or cuda:N; default: cuda if there is one")
]
DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16, float16 or float8; default: float32 on a CPU, else bfloat16"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table")]

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".mp4", ".webm", ".aac", ".wma"}


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
        from .vectors import write_encoded

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


@app.command()
def recipes(as_json: JsonOption = False) -> None:
    """List the systems harken can be, and where each comes from."""
    from .recipes import recipes as all_recipes

    emit(
        (
            {
                "recipe": recipe.name,
                "runs on": ", ".join(recipe.backbones),
                "pooling": recipe.pooling,
                "source": recipe.source,
                "licence": recipe.licence,
            }
            for recipe in all_recipes().values()
        ),
        as_json,
    )


@app.command()
def mini(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with the hub checkpoints whisper-base and SmolLM2-135M-Instruct"),
    ] = None,
) -> None:
    """Build the built-in model's checkpoint in the cache (done by itself at first use) and print its folder."""
    with errors_as_lines():
        from .convert.mini import build_mini

        print(build_mini(from_folder=source))


def load_model(
    model: str | None,
    recipe: str | None,
    adapter: Path | None,
    device: str | None,
    dtype: str | None,
    batch_tokens: int | None = None,
) -> "Embedder":
    """`harken.load` with the options of the command line."""
    from .load import load

    return load(model, recipe=recipe, adapter=adapter, device=device, dtype=dtype, batch_tokens=batch_tokens)


def find_sounds(sources: list[Path]) -> list[Path]:
    """The files named, and the sound files under the folders named, each folder in order of name."""
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise fail(f"{source}: holds no sound file; looked for {', '.join(sorted(SUFFIXES))}")
            found += inside
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def main(arguments: list[str] | None = None) -> Any:
    """The entry point `harken`."""
    # They add their commands to `app`.
    from . import cli_bulk, cli_convert, cli_demo, cli_edit, cli_index, cli_rerank  # noqa: F401

    return app(arguments)
