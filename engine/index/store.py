"""An index on disk: a folder NAME.harken of files named by their content, and index.json that names them.

    vectors-<sha>.npy [n, d]   scales-<sha>.npy [n] (int8 only)   rows-<sha>.arrow: id and metadata columns   index.json

New files are written beside the old ones; replacing index.json is the one step that makes them the index, so a kill at any
moment leaves the old index or the new one. Opening maps the files and reads none of their rows.

Source: own; .npy is numpy's format 1.0, rows are an Arrow IPC file.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import FileFormatError, OutputError
from ..durable import sha256_of, sync, written_aside
from ..fingerprint import Fingerprint

VERSION = 1
ABOUT = "index.json"
DTYPES = ("float32", "float16", "int8")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The parts of an index."""

    # [n, d] float32, float16 or int8.
    vectors: np.ndarray
    # [n] float32 for int8 vectors, else None.
    scales: np.ndarray | None
    # n rows; column "id" and the metadata.
    rows: pa.Table
    fingerprint: Fingerprint | None
    # How to load the model that made the vectors.
    made_with: dict[str, Any]


def save(stored: Stored, folder: Path) -> None:
    """Write an index, replacing one that stands there.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
    """
    try:
        if folder.exists() and not (folder / ABOUT).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder}: stands there and is no index; wanted a new name")
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "vectors": _put(folder, "vectors.npy", stored.vectors),
            "rows": _put(folder, "rows.arrow", stored.rows),
        }
        if stored.scales is not None:
            files["scales"] = _put(folder, "scales.npy", stored.scales)
        about = {
            "kind": "harken index",
            "version": VERSION,
            "count": len(stored.vectors),
            "dim": stored.vectors.shape[1],
            "dtype": stored.vectors.dtype.name,
            "fingerprint": None if stored.fingerprint is None else stored.fingerprint.to_dict(),
            "made_with": stored.made_with,
            "files": files,
        }
        with written_aside(folder / ABOUT) as aside:
            aside.write_text(json.dumps(about, indent=1) + "\n")
        kept = {ABOUT, *(file["name"] for file in files.values())}
        for old in folder.iterdir():
            if old.name not in kept and old.name.split("-")[0].split(".")[0] in ("vectors", "rows", "scales"):
                old.unlink()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None


def open_stored(folder: Path) -> Stored:
    """Map an index.

    Raises:
        FileFormatError: no index, another version, a file that is missing or not of its size and shape.
    """
    about = _read_about(folder)
    paths = {part: _checked(folder, file) for part, file in about["files"].items()}
    shape, dtype = (about["count"], about["dim"]), about["dtype"]
    vectors = _map_array(paths["vectors"], shape, dtype)
    scales = _map_array(paths["scales"], shape[:1], "float32") if dtype == "int8" else None
    try:
        rows = pa.ipc.open_file(pa.memory_map(str(paths["rows"]))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{paths['rows']}: cannot be read as an Arrow file: {error}") from None
    if len(rows) != shape[0] or "id" not in rows.column_names or rows.schema.field("id").type != pa.string():
        raise FileFormatError(
            f"{paths['rows']}: wanted {shape[0]} rows with an id, got {len(rows)} of {rows.column_names}"
        )
    fingerprint = about["fingerprint"]
    return Stored(
        vectors,
        scales,
        rows,
        None if fingerprint is None else Fingerprint.from_dict(fingerprint, str(folder / ABOUT)),
        about["made_with"],
    )


def verify(folder: Path) -> None:
    """Read every byte of an index and compare it with its sha256.

    Raises:
        FileFormatError: names the file whose content is not what was written.
    """
    for file in _read_about(folder)["files"].values():
        path = _checked(folder, file)
        if sha256_of(path) != file["sha256"]:
            raise FileFormatError(f"{path}: content is damaged: its sha256 is not the one in {ABOUT}")


def _put(folder: Path, name: str, content: np.ndarray | pa.Table) -> dict[str, Any]:
    """Write one file under the name of its content; gives its entry in index.json."""
    aside = folder / f"{name}.tmp"
    if isinstance(content, np.ndarray):
        with open(aside, "wb") as file:
            np.lib.format.write_array(file, content, version=(1, 0), allow_pickle=False)
    else:
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, content.schema) as writer:
            writer.write_table(content)
    sync(aside)
    sha256 = sha256_of(aside)
    stem, suffix = name.split(".")
    final = aside.rename(folder / f"{stem}-{sha256[:12]}.{suffix}")
    return {"name": final.name, "bytes": final.stat().st_size, "sha256": sha256}


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileFormatError(f"{folder}: is no index: there is no {ABOUT} in it") from None
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read: {error}") from None
    if not isinstance(about, dict) or (about.get("kind"), about.get("version")) != ("harken index", VERSION):
        got = [about.get("kind"), about.get("version")] if isinstance(about, dict) else type(about).__name__
        raise FileFormatError(f"{path}: is {got}; wanted a harken index of version {VERSION}")
    try:
        parts = {"vectors", "rows"} | ({"scales"} if about["dtype"] == "int8" else set())
        sound = (
            all(isinstance(about[name], int) and about[name] >= 0 for name in ("count", "dim"))
            and about["dtype"] in DTYPES
            and isinstance(about["made_with"], dict)
            and set(about["files"]) == parts
            and all(
                Path(f["name"]).name == f["name"] and f["bytes"] >= 0 and f["sha256"] for f in about["files"].values()
            )
            and (about["fingerprint"] is None or isinstance(about["fingerprint"], dict))
        )
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise FileFormatError(f"{path}: is damaged: a field is missing or has a value that cannot be")
    return about


def _checked(folder: Path, file: dict[str, Any]) -> Path:
    path = folder / file["name"]
    if not path.is_file():
        raise FileFormatError(f"{path}: is missing from the index")
    if path.stat().st_size != file["bytes"]:
        raise FileFormatError(f"{path}: has {path.stat().st_size} bytes; wanted {file['bytes']}")
    return path


def _map_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    try:
        # Copy-on-write: torch wants arrays it could write to, and the file stays as it is.
        array = np.load(path, mmap_mode="c", allow_pickle=False) if all(shape) else np.zeros(shape, dtype)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(f"{path}: cannot be mapped: {error}") from None
    if array.shape != shape or array.dtype.name != dtype:
        raise FileFormatError(f"{path}: holds {array.shape} {array.dtype}; wanted {shape} {dtype}")
    return array
