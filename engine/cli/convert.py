"""`harken convert ...`: published checkpoints in the form that harken reads."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .output import errors_as_lines, fail

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


@convert.command()
def pickle(
    sources: Annotated[
        list[Path], typer.Argument(help="The pickle, or all shards of one model, then the folder to make")
    ],
) -> None:
    """Write a checkpoint in pickles (pytorch_model.bin, .pt) as safetensors, and print its folder: SOURCE... OUT.

    No code in a pickle is run; what is no tensor is refused by name. JSON and text files beside it are copied.
    """
    with errors_as_lines():
        from ..convert.from_pickle import convert_pickle

        if len(sources) < 2:
            raise fail("convert pickle wants one pickle or more, then the folder to make")
        print(convert_pickle(sources[:-1], sources[-1]))
