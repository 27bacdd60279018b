"""What decides what a vector is, so that vectors of two makings are never compared by accident.

Source: own.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, FingerprintError
from .models.weights import checkpoint_files
from .recipes import Recipe

# Files up to this size are hashed whole; of larger ones the head, which lists every tensor, and blocks spread evenly.
WHOLE_BYTES = 64 << 20
BLOCK_BYTES = 1 << 20
NUM_BLOCKS = 32


@dataclass(frozen=True)
class Fingerprint:
    """Everything that a vector depends on."""

    # Name of the checkpoint's folder: for people, not compared.
    model: str
    weights_sha256: str
    adapter_sha256: str | None
    recipe: str
    recipe_sha256: str
    front_end: str
    dtype: str
    # Version of harken: for people, not compared.
    version: str

    @cached_property
    def id(self) -> str:
        """12 hex digits of all that is compared."""
        compared = {name: getattr(self, name) for name in _COMPARED}
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"{self.id} ({self.model}, {self.recipe}, {self.dtype})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, where: str) -> "Fingerprint":
        """Read what `to_dict` gave; `where` names the file in the error.

        Raises:
            FileFormatError: a field is missing or unknown.
        """
        wanted = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != wanted:
            got = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise FileFormatError(f"{where}: holds no fingerprint: got {got}, wanted {sorted(wanted)}")
        return cls(**values)


_COMPARED = ("weights_sha256", "adapter_sha256", "recipe", "recipe_sha256", "front_end", "dtype")


def require_same(a: Fingerprint, b: Fingerprint, what: str) -> None:
    """Refuse to mix vectors of two makings.

    Raises:
        FingerprintError: names both and the fields in which they differ.
    """
    if a.id != b.id:
        differing = [name for name in _COMPARED if getattr(a, name) != getattr(b, name)]
        raise FingerprintError(f"{what}: {a} and {b} differ in {', '.join(differing)}; their vectors cannot be mixed")


def fingerprint_of(folder: Path, *, adapter: Path | None, recipe: Recipe, front_end: str, dtype: str) -> Fingerprint:
    """The fingerprint of a checkpoint folder with an adapter and a recipe; heads count with the folder they stand in."""
    try:
        harken_version = version("harken")
    except PackageNotFoundError:
        harken_version = "unknown"
    return Fingerprint(
        model=folder.name,
        weights_sha256=_hash_files(
            [*checkpoint_files(folder), folder / "tokenizer.json", folder / "heads.safetensors"]
        ),
        adapter_sha256=None
        if adapter is None
        else _hash_files(
            [adapter / n for n in ("adapter_config.json", "adapter_model.safetensors", "heads.safetensors")]
        ),
        recipe=recipe.name,
        recipe_sha256=hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode()).hexdigest(),
        front_end=front_end,
        dtype=dtype,
        version=harken_version,
    )


def _hash_files(paths: list[Path]) -> str:
    """sha256 of names, sizes and contents. In a file over 64 MiB a change that touches no sampled block is missed."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            if size <= WHOLE_BYTES:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
                continue
            for i in range(NUM_BLOCKS):
                file.seek(i * (size - BLOCK_BYTES) // (NUM_BLOCKS - 1))
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()
