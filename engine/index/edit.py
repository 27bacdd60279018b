"""Indexes made of other indexes and of pieces: written row range by row range, so that they may be larger than memory.

Each ends in `store.save`: a kill leaves the old index or the new one.

Source: own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError
from ..fingerprint import Fingerprint, require_same
from .index import Index
from .rows import refuse_not_finite
from .store import Stored, open_stored, save

# Rows held in memory at once.
CHUNK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some rows of an index to be."""

    # [m, d] of the index's dtype.
    vectors: np.ndarray
    # [m] float32 for int8, else None.
    scales: np.ndarray | None
    # m rows: "id" and metadata.
    rows: pa.Table


def write_pieces(
    folder: Path,
    pieces: Iterable[Piece],
    *,
    count: int,
    dim: int,
    dtype: str,
    fingerprint: Fingerprint | None,
    made_with: dict[str, Any],
) -> None:
    """Write an index of pieces, replacing one that stands there.

    Args:
        folder: of the index.
        pieces: together `count` rows of `dim` components; columns that only some have are null in the others.
        dtype: float32, float16 or int8.

    Raises:
        InputError: an id occurs twice, a vector is not finite, or rows are missing.
        OutputError: the folder holds something else, or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        if count:
            # The stored file itself is written once more by `save`, under the name of its content.
            whole: np.ndarray = np.lib.format.open_memmap(
                Path(aside) / "vectors.npy", mode="w+", dtype=dtype, shape=(count, dim)
            )
        else:
            whole = np.zeros((0, dim), dtype)
        scales = np.zeros(count, np.float32) if dtype == "int8" else None
        tables, row = [], 0
        for piece in pieces:
            end = row + len(piece.vectors)
            if dtype != "int8":
                refuse_not_finite(piece.vectors, piece.rows, "")
            whole[row:end] = piece.vectors
            if scales is not None:
                scales[row:end] = piece.scales
            tables.append(piece.rows)
            row = end
        if row != count:
            raise InputError(f"{folder}: {row} rows came; wanted {count}")
        rows = (
            pa.concat_tables(tables, promote_options="permissive").combine_chunks()
            if tables
            else pa.table({"id": pa.array([], pa.string())})
        )
        _refuse_doubled(rows["id"], folder)
        save(Stored(whole, scales, rows, fingerprint, made_with), folder)


def merge(paths: Sequence[Path], out: Path) -> None:
    """One index of several, in their order.

    Raises:
        InputError: none is named, they differ in dtype or dimension, or an id is in two of them.
        FingerprintError: they were made by different models.
        FileFormatError: one is no index.
    """
    if not paths:
        raise InputError("no index is named; wanted at least one to merge")
    parts = [open_stored(path) for path in paths]
    for path, part in zip(paths[1:], parts[1:]):
        _refuse_other(parts[0], part, f"{paths[0]} and {path}")
    pieces = (piece for part in parts for piece in _pieces(part))
    _write_like(parts[0], out, pieces, sum(len(part.vectors) for part in parts))


def add(path: Path, addition: Index) -> None:
    """Put the rows of another index behind those of one on disk; what it stores is brought to that one's dtype.

    Raises:
        InputError: another dimension, or an id that is there already.
        FingerprintError: it was made by another model.
    """
    stored = open_stored(path)
    other = addition._stored
    if other.vectors.dtype != stored.vectors.dtype:
        if other.vectors.dtype != np.float32:
            raise InputError(
                f"{path}: stores {stored.vectors.dtype}; got rows of {other.vectors.dtype}, wanted float32"
            )
        same = Index.build(
            other.vectors,
            other.rows["id"].to_pylist(),
            fingerprint=other.fingerprint,
            metadata=other.rows.drop_columns(["id"]) if other.rows.num_columns > 1 else None,
            dtype=stored.vectors.dtype.name,
        )
        other = same._stored
    _refuse_other(stored, other, str(path))
    _write_like(stored, path, chain(_pieces(stored), _pieces(other)), len(stored.vectors) + len(other.vectors))


def delete(path: Path, ids: Sequence[str]) -> None:
    """Take rows out of an index on disk.

    Raises:
        InputError: an id that is not there; nothing is taken out then.
    """
    stored = open_stored(path)
    wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
    found = pc.index_in(wanted, value_set=stored.rows["id"])
    if found.null_count:
        missing = wanted.filter(found.is_null()).to_pylist()
        raise InputError(
            f"{path}: {len(missing)} ids are not in the index: {', '.join(missing[:10])}{' ...' if missing[10:] else ''}"
        )
    keep = np.ones(len(stored.vectors), bool)
    keep[found.to_numpy(zero_copy_only=False)] = False
    _write_like(stored, path, _pieces(stored, keep), int(keep.sum()))


def _write_like(like: Stored, out: Path, pieces: Iterable[Piece], count: int) -> None:
    write_pieces(
        out,
        pieces,
        count=count,
        dim=like.vectors.shape[1],
        dtype=like.vectors.dtype.name,
        fingerprint=like.fingerprint,
        made_with=like.made_with,
    )


def _pieces(stored: Stored, keep: np.ndarray | None = None) -> Iterator[Piece]:
    """Ranges of rows, mapped where all are kept; `keep` [n] bool picks rows."""
    for start in range(0, len(stored.vectors), CHUNK_ROWS):
        span = slice(start, start + CHUNK_ROWS)
        vectors, rows = stored.vectors[span], stored.rows.slice(start, CHUNK_ROWS)
        scales = None if stored.scales is None else stored.scales[span]
        if keep is not None:
            vectors, rows = vectors[keep[span]], rows.filter(pa.array(keep[span]))
            scales = None if scales is None else scales[keep[span]]
        yield Piece(vectors, scales, rows)


def _refuse_other(a: Stored, b: Stored, what: str) -> None:
    if a.vectors.shape[1] != b.vectors.shape[1] or a.vectors.dtype != b.vectors.dtype:
        raise InputError(
            f"{what}: {a.vectors.shape[1]} {a.vectors.dtype} a row and {b.vectors.shape[1]} {b.vectors.dtype} a row; "
            "wanted the same"
        )
    if a.fingerprint is not None and b.fingerprint is not None:
        require_same(a.fingerprint, b.fingerprint, what)
    elif a.fingerprint != b.fingerprint:
        raise InputError(f"{what}: one has a fingerprint and the other has none; wanted both or neither")


def _refuse_doubled(ids: pa.ChunkedArray, folder: Path) -> None:
    if len(pc.unique(ids)) == len(ids):
        return
    counts = pc.value_counts(ids)
    doubled = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    raise InputError(f"{folder}: ids occur twice: {', '.join(doubled[:10])}{' ...' if doubled[10:] else ''}")
