"""The systems harken can be, one file each: every module of this folder with a tuple `RECIPES` is read."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from ...errors import ModelError
from .recipe import Recipe

__all__ = ["Recipe", "get_recipe", "recipes"]


@cache
def recipes() -> dict[str, Recipe]:
    """All built-in recipes by name."""
    found: dict[str, Recipe] = {}
    for module in iter_modules(__path__):
        for recipe in getattr(import_module(f".{module.name}", __name__), "RECIPES", ()):
            found[recipe.name] = recipe
    return dict(sorted(found.items()))


def get_recipe(name_or_path: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """A recipe by name, from a JSON file, or from a mapping of its fields.

    Raises:
        ModelError: no such recipe; the text lists those there are.
    """
    if isinstance(name_or_path, Recipe):
        return name_or_path
    if isinstance(name_or_path, Mapping):
        return Recipe.from_dict(dict(name_or_path))
    if str(name_or_path).endswith(".json"):
        return Recipe.from_json(name_or_path)
    if str(name_or_path) not in recipes():
        raise ModelError(f"no recipe {str(name_or_path)!r}; there are {', '.join(recipes())}, or give a .json file")
    return recipes()[str(name_or_path)]


def recipe_reference(recipe: Recipe) -> str | dict[str, Any]:
    """What `get_recipe` makes the same recipe of, wherever it came from: its name if it is built in, else its fields."""
    return recipe.name if recipes().get(recipe.name) == recipe else recipe.to_dict()
