"""`harken recipes` and `harken mini`: what harken can be, and the built-in model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import JsonOption, app
from .output import emit, errors_as_lines

if TYPE_CHECKING:
    from ..recipes import Recipe
    from ..recipes.rerank import RerankRecipe


@app.command()
def recipes(as_json: JsonOption = False) -> None:
    """List the systems harken can be, and where each comes from."""
    from ..recipes import recipes as all_recipes
    from ..recipes.rerank import RERANK_RECIPES

    rows = [_row(recipe, recipe.pooling) for recipe in all_recipes().values()]
    emit(rows + [_row(recipe, "reranker: P(Yes)") for recipe in RERANK_RECIPES], as_json)


def _row(recipe: "Recipe | RerankRecipe", gives: str) -> dict[str, str]:
    return {
        "recipe": recipe.name,
        "runs on": ", ".join(recipe.backbones),
        "gives": gives,
        "source": recipe.source,
        "licence": recipe.licence,
    }


@app.command()
def mini(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with the hub checkpoints whisper-base and SmolLM2-135M-Instruct"),
    ] = None,
) -> None:
    """Build the built-in model's checkpoint in the cache (done by itself at first use) and print its folder."""
    with errors_as_lines():
        from ..convert.mini import build_mini

        print(build_mini(from_folder=source))
