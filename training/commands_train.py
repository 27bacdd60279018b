"""`harken train`, `merge` and `train-search`. Exit codes as in engine/cli."""

from pathlib import Path
from typing import Annotated

import typer

from ..engine.cli.app import AdapterOption, ModelOption, RecipeOption, app
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


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="Folder to make")],
    model: ModelOption = None,
    adapter: AdapterOption = None,
    recipe: RecipeOption = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16, cast once; default: as each tensor is")
    ] = None,
) -> None:
    """Write a checkpoint with the adapter merged in float32; transformers and harken load it without the adapter."""
    with errors_as_lines():
        from ..engine.export.hf import export_hf

        print(export_hf(model, adapter, recipe, out, dtype=dtype))


@app.command("train-search")
def train_search(
    settings: Annotated[Path, typer.Argument(help="Settings that every trial starts from, .json or .toml")],
    storage: Annotated[Path, typer.Option(help="SQLite file; a search that is there goes on")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier calls counted in")] = 40,
) -> None:
    """Search Robust-ATR's sizes, rates and loss weights by validation; trials below the median are cut short."""
    with errors_as_lines():
        from .search import search

        best = search(settings, storage, trials)
        print(f"trial {best.number}: score {best.value:.4f} with {best.params}")
