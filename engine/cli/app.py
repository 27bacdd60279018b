"""The typer application that the commands add themselves to, and the options they share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import fail

if TYPE_CHECKING:
    from ..embedder import Embedder

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


def load_model(
    model: str | None,
    recipe: str | dict[str, Any] | None,
    adapter: Path | None,
    device: str | None,
    dtype: str | None,
    batch_tokens: int | None = None,
) -> "Embedder":
    """`harken.load` with the options of the command line."""
    from ..load import load

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
