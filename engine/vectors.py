"""The vectors file: one Parquet row a sound, its vector or the reason why it has none.

    id string | vector fixed_size_list<float32, d> (null: failed) | duration_s float32 | stage string | error string (null: ok)
    schema metadata "harken": {"kind": "vectors", "version": 1, "dim": d, "fingerprint": {...}, "made_with": {...}}

Source: own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import FileFormatError, InputError, OutputError
from .durable import written_aside
from .encoded import Encoded, Failure
from .fingerprint import Fingerprint
from .recipes import recipe_reference

if TYPE_CHECKING:
    from .embedder import Embedder

VERSION = 1
ROW_GROUP_ROWS = 1 << 16
KEY = b"harken"


@dataclass(frozen=True, slots=True)
class VectorTable:
    """What a vectors file holds: the rows that have a vector, and the failures, each in the order of the file."""

    ids: list[str]
    # [m, d] float32, a row an id.
    vectors: np.ndarray
    # Seconds of sound of each id.
    durations_s: list[float]
    failures: list[Failure]
    fingerprint: Fingerprint | None
    # How to load the model again: model, adapter, recipe, dtype, as `harken.load` takes them; empty if not known.
    made_with: dict[str, Any]


def write_encoded(path: Path, ids: Sequence[str], encoded: Encoded, model: "Embedder") -> None:
    """Write what a model made of sounds; arguments and errors as `write_vectors`."""
    write_vectors(path, ids, encoded, fingerprint=model.fingerprint, made_with=made_with(model))


def made_with(model: "Embedder") -> dict[str, Any]:
    """How to load this model again, with None where `harken.load` has the same default."""
    built_in = model.adapter is not None and model.adapter == Path(str(files("harken.engine") / "assets" / "mini"))
    return {
        "model": None if built_in else str(model.folder),
        "adapter": None if built_in or model.adapter is None else str(model.adapter),
        "recipe": recipe_reference(model.recipe),
        "dtype": model.fingerprint.dtype,
    }


def write_vectors(
    path: Path,
    ids: Sequence[str],
    encoded: Encoded,
    *,
    fingerprint: Fingerprint | None = None,
    made_with: dict[str, Any] | None = None,
) -> None:
    """Write a vectors file, whole or not at all; an old file of that name is replaced.

    Args:
        path: where to.
        ids: one for every sound that was given to the model, also for those that failed.
        encoded: what came of them; its rows and failures count into `ids`.
        fingerprint: of the vectors.
        made_with: how to load the model again.

    Raises:
        InputError: ids, vectors and failures do not add up.
        OutputError: the file cannot be written.
    """
    vectors = np.ascontiguousarray(encoded.vectors, np.float32)
    failed = {failure.row: failure for failure in encoded.failures}
    if vectors.ndim != 2 or len(vectors) != len(encoded.rows) or len(encoded.durations_s) != len(encoded.rows):
        raise InputError(
            f"{path}: wanted a vector and a duration for each of {len(encoded.rows)} rows, got vectors "
            f"{list(vectors.shape)} and {len(encoded.durations_s)} durations"
        )
    if sorted([*encoded.rows, *failed]) != list(range(len(ids))):
        raise InputError(
            f"{path}: {len(ids)} ids, {len(encoded.rows)} rows with a vector and {len(failed)} failures do not add up; "
            "wanted every id to have one of the two"
        )
    dim = vectors.shape[1]
    spread = np.zeros((len(ids), dim), np.float32)
    spread[encoded.rows] = vectors
    durations = np.full(len(ids), np.nan, np.float32)
    durations[encoded.rows] = encoded.durations_s
    missing = np.ones(len(ids), bool)
    missing[encoded.rows] = False
    column = pa.FixedSizeListArray.from_arrays(pa.array(spread.reshape(-1)), dim, mask=pa.array(missing))
    about = {
        "kind": "vectors",
        "version": VERSION,
        "dim": dim,
        "fingerprint": None if fingerprint is None else fingerprint.to_dict(),
        "made_with": made_with or {},
    }
    table = pa.table(
        {
            "id": pa.array([str(name) for name in ids], pa.string()),
            "vector": column,
            "duration_s": pa.array(durations, mask=missing),
            "stage": pa.array([failed[i].stage if i in failed else None for i in range(len(ids))], pa.string()),
            "error": pa.array([failed[i].error if i in failed else None for i in range(len(ids))], pa.string()),
        }
    ).replace_schema_metadata({KEY: json.dumps(about)})
    try:
        with written_aside(Path(path)) as aside:
            pq.write_table(table, aside, row_group_size=ROW_GROUP_ROWS)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_vectors(path: Path) -> VectorTable:
    """Read a vectors file.

    Raises:
        FileFormatError: missing, damaged, no vectors file of harken, or one of another version.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: there is no such file; wanted a vectors file")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: cannot be read as a vectors file: {_first_line(error)}") from None
    about = _about(table.schema, path)
    wanted = {"id", "vector", "duration_s", "stage", "error"}
    if not wanted <= set(table.column_names):
        raise FileFormatError(f"{path}: has columns {table.column_names}; wanted {sorted(wanted)}")
    if table.schema.field("vector").type != pa.list_(pa.float32(), about["dim"]):
        raise FileFormatError(
            f"{path}: vectors are {table.schema.field('vector').type}; wanted {about['dim']} float32 a row"
        )
    ok = table.filter(table["vector"].is_valid())
    flat = ok["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    failures = [
        Failure(row, name, stage or "", error or "")
        for row, (name, stage, error, valid) in enumerate(
            zip(*(table[c].to_pylist() for c in ("id", "stage", "error")), table["vector"].is_valid().to_pylist())
        )
        if not valid
    ]
    return VectorTable(
        ids=ok["id"].to_pylist(),
        vectors=flat.reshape(len(ok), about["dim"]),
        durations_s=ok["duration_s"].to_pylist(),
        failures=failures,
        fingerprint=None if about["fingerprint"] is None else Fingerprint.from_dict(about["fingerprint"], str(path)),
        made_with=about["made_with"],
    )


def _about(schema: pa.Schema, path: Path) -> dict[str, Any]:
    try:
        about = json.loads((schema.metadata or {})[KEY])
        kind, version, dim = about["kind"], about["version"], about["dim"]
        about["fingerprint"], about["made_with"]
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"{path}: is Parquet, but no vectors file of harken") from None
    if kind != "vectors" or version != VERSION or not isinstance(dim, int):
        raise FileFormatError(f"{path}: is {kind!r} version {version}; wanted 'vectors' version {VERSION}")
    return about


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
