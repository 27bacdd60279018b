"""manifest.json: what an exported folder is, of what it was made, and the sha256 of every file in it.

Source: own.
"""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ...errors import FileFormatError
from ..durable import sha256_of
from ..embedder import Embedder

FILE = "manifest.json"
FORMAT, FORMAT_VERSION = "harken-export", 1
_PACKAGES = ("harken", "numpy", "safetensors", "tokenizers", "transformers", "onnx", "onnxruntime")


def write_manifest(folder: Path, target: str, embedder: Embedder, facts: dict[str, Any]) -> None:
    """Write manifest.json beside the files of a folder that is otherwise whole.

    Args:
        folder: every file in it, at any depth, is hashed.
        target: a name in `targets.TARGETS`.
        embedder: gives the recipe, the sizes and the fingerprint.
        facts: what the target has to say besides; must be JSON.
    """
    recipe = embedder.recipe
    values = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": target,
        "fingerprint": embedder.fingerprint.to_dict(),
        "recipe": recipe.to_dict(),
        "dims": {
            "vector": embedder.dim,
            "width": embedder.model.width,
            "sample_rate_hz": embedder.sample_rate_hz,
            "num_mels": embedder.model.tower.spec.num_mels,
        },
        "versions": _versions(),
        **facts,
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    (folder / FILE).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_manifest(folder: str | Path, *, check: bool = True) -> dict[str, Any]:
    """The manifest of an exported folder.

    Args:
        folder: what `export` made.
        check: hash every file again.

    Raises:
        FileFormatError: no manifest, one of an unknown version, or files missing or changed.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / FILE).read_text())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{folder}: has no manifest of an export that can be read: {error}") from None
    got = (values.get("format"), values.get("format_version")) if isinstance(values, dict) else values
    if got != (FORMAT, FORMAT_VERSION):
        raise FileFormatError(f"{folder / FILE}: is {got}, wanted {(FORMAT, FORMAT_VERSION)}")
    if check:
        wrong = [
            name
            for name, facts in values["files"].items()
            if not (folder / name).is_file() or sha256_of(folder / name) != facts["sha256"]
        ]
        if wrong:
            raise FileFormatError(f"{folder}: missing or changed since the export: {', '.join(wrong)}")
    return values


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
