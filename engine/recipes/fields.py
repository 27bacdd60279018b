"""Recipes from plain values and JSON files: a dataclass's fields by name, unknown and missing ones refused.

Source: own.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ...errors import ModelError

AnyRecipe = TypeVar("AnyRecipe")


def from_dict(kind: type[AnyRecipe], values: dict[str, Any], origin: str) -> AnyRecipe:
    """A recipe of `kind` from plain values.

    Raises:
        ModelError: an unknown, missing or wrong field; the text begins with `origin` and names it.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ModelError(f"{origin}: unknown fields {unknown}; known are {sorted(known)}")
    if "backbones" in values:
        values = {**values, "backbones": tuple(values["backbones"])}
    try:
        return kind(**values)
    except (TypeError, AttributeError) as error:
        raise ModelError(f"{origin}: {error}") from None


def from_json(kind: type[AnyRecipe], path: str | Path) -> AnyRecipe:
    """A recipe of `kind` from a JSON object in a file; errors as `from_dict`."""
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as a recipe: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path}: cannot be read as a recipe: wanted a JSON object, got {type(values).__name__}")
    return from_dict(kind, values, str(path))
