"""Where the vectors of a part go: Parquet, or .npy with metadata beside it.

    parquet  vectors/part-000000.parquet        a vectors file with more columns: uri, member, row, (scale)
    npy      emb/emb_000000.npy, metadata/metadata_000000.parquet   the layout of clip-retrieval and autofaiss

A Parquet part of float32 is what `vectors.read_vectors` reads; the sounds that failed are in files of their own.

int8 rows have a scale beside them: quantize.py.

Source: own; clip-retrieval's folders.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from ..durable import written_aside
from ..quantize import quantize
from .entry import Entry
from .reading import Failed

# The key that a vectors file keeps what it is under.
KEY = b"harken"
Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8")

ERRORS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Rows:
    """The vectors of a part, in the manifest's order."""

    rows: list[int]
    entries: list[Entry]
    durations_s: list[float]
    # [m, d] float32.
    vectors: np.ndarray


class Sink(Protocol):
    """A way to write parts."""

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        """Write the files of a part, each durably; gives their paths."""
        ...


def make_sink(kind: str, dtype: str, about: Mapping[str, Any]) -> Sink:
    """The sink of a name; `about` tells how the vectors were made, its "dim" what they measure.

    Raises:
        InputError: no such kind of sink, or dtype.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; wanted one of {list(DTYPES)}")
    if kind not in SINKS:
        raise InputError(f"the output's format is {kind!r}; wanted one of {list(SINKS)}")
    return SINKS[kind](dtype, about)


class ParquetSink:
    """One Parquet file a part."""

    def __init__(self, dtype: str, about: Mapping[str, Any]) -> None:
        self.dtype, self.metadata = dtype, {KEY: json.dumps(about, sort_keys=True)}

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        table = _columns(rows)
        vectors, scale = quantize(rows.vectors) if self.dtype == "int8" else (rows.vectors.astype(self.dtype), None)
        width = vectors.shape[1]
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        table = table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, width))
        if scale is not None:
            table = table.append_column("scale", pa.array(scale))
        for name in ("stage", "error"):
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
        table = table.replace_schema_metadata(self.metadata)
        path = folder / "vectors" / f"part-{part:06d}.parquet"
        return [write_table(path, table)]


class NpySink:
    """A .npy and a Parquet file of the same rows a part."""

    def __init__(self, dtype: str, about: Mapping[str, Any]) -> None:
        self.dtype, self.metadata = dtype, {KEY: json.dumps(about, sort_keys=True)}

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        table = _columns(rows)
        vectors = rows.vectors
        if self.dtype == "int8":
            vectors, scale = quantize(vectors)
            table = table.append_column("scale", pa.array(scale))
        table = table.replace_schema_metadata(self.metadata)
        path = folder / "emb" / f"emb_{part:06d}.npy"
        path.parent.mkdir(exist_ok=True)
        with written_aside(path) as aside, aside.open("wb") as file:
            np.save(file, vectors.astype(self.dtype, copy=False))
        return [path, write_table(folder / "metadata" / f"metadata_{part:06d}.parquet", table)]


SINKS: dict[str, type[ParquetSink] | type[NpySink]] = {"parquet": ParquetSink, "npy": NpySink}


def write_errors(path: Path, failures: Sequence[Failed]) -> Path:
    """Write failures as a table of ERRORS."""
    columns = [
        [f.entry.id for f in failures],
        [f.entry.uri for f in failures],
        [f.row for f in failures],
        [f.stage for f in failures],
        [f.error for f in failures],
        [f.message for f in failures],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, ERRORS)]
    return write_table(path, pa.Table.from_arrays(arrays, schema=ERRORS))


def write_table(path: Path, table: pa.Table) -> Path:
    """Write a Parquet file durably."""
    path.parent.mkdir(exist_ok=True)
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd", use_dictionary=False, row_group_size=4096)
    return path


def _columns(rows: Rows) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([entry.id for entry in rows.entries], pa.string()),
            "uri": pa.array([entry.uri for entry in rows.entries], pa.string()),
            "member": pa.array([entry.member for entry in rows.entries], pa.string()),
            "row": pa.array(rows.rows, pa.int64()),
            "duration_s": pa.array(rows.durations_s, pa.float32()),
        }
    )
