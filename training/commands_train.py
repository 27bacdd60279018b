"""`harken train`: adapters from settings. Exit codes as in engine/cli."""

from pathlib import Path
from typing import Annotated

import typer

from ..engine.cli.app import app
from ..engine.cli.output import errors_as_lines


@app.command()
def train(
    settings: Annotated[Path, typer.Argument(help="Settings of the run, .json or .toml; its folder is in them")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run instead of the one in the settings")] = None,
) -> None:
    """Train an adapter; an interrupted run goes on. On several processes: torchrun -m harken.training.run SETTINGS."""
    with errors_as_lines():
        from .run import train_run

        train_run(settings, out)
