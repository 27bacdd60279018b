"""`harken convert ...`: published checkpoints in the form that harken reads. Exit codes as in cli.py."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .output import errors_as_lines

convert = typer.Typer(help="Bring a published checkpoint into the form that harken reads.", no_args_is_help=True)
app.add_typer(convert, name="convert")


@convert.command()
def oea(
    source: Annotated[Path, typer.Argument(help="The published .pt file of Omni-Embed-Audio")],
    out: Annotated[Path, typer.Argument(help="Folder to make, for `--adapter`")],
) -> None:
    """Take the adapter and the heads out of an Omni-Embed-Audio checkpoint and print their folder."""
    with errors_as_lines():
        from ..convert.oea import convert_oea

        print(convert_oea(source, out))


@convert.callback()
def _group() -> None:
    """Keep `oea` a command of its own while it is the only one."""
