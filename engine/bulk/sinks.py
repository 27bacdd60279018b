"""Where the results of a part go.

    parquet  vectors/part-000000.parquet        a vectors file with more columns: uri, member, row, (scale)
    npy      emb/emb_000000.npy, metadata/metadata_000000.parquet   the layout of clip-retrieval and autofaiss
    tokens   tokens/tokens_000000.npy, metadata/metadata_000000.parquet   audio tokens end to end: tokens.py

A Parquet part of float32 is what `vectors.read_vectors` reads; the sounds that failed are in files of their own.
int8 rows have a scale beside them: quantize.py. numpy has no bfloat16: such tokens are its bits as uint16.

Source: own; clip-retrieval's folders.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ..durable import written_aside
from ..quantize import quantize, to_bfloat16
from .rows import Rows, write_table

# The key that a vectors file keeps what it is under.
KEY = b"harken"


class Sink(Protocol):
    """A way to write parts."""

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        """Write the files of a part, each durably; gives their paths."""
        ...


def make_sink(kind: str, dtype: str, about: Mapping[str, Any]) -> Sink:
    """The sink of a name; `about` tells how the results were made, its "dim" what they measure.

    Raises:
        InputError: no such kind of sink, or dtype.
    """
    if kind not in SINKS:
        raise InputError(f"the output's format is {kind!r}; wanted one of {list(SINKS)}")
    make = SINKS[kind]
    if dtype not in make.DTYPES:
        raise InputError(f"dtype is {dtype!r}; wanted one of {list(make.DTYPES)} for {kind}")
    return make(dtype, about)


class _Sink:
    DTYPES: tuple[str, ...] = ("float32", "float16", "int8")

    def __init__(self, dtype: str, about: Mapping[str, Any]) -> None:
        self.dtype, self.about = dtype, about

    def _vectors(self, rows: Rows) -> tuple[np.ndarray, pa.Table]:
        """[m, d] of the stored dtype, and the rows' table, with scales where there are any."""
        table, vectors = rows.table(), rows.stacked(self.about["dim"])
        if self.dtype != "int8":
            return vectors.astype(self.dtype, copy=False), table
        quantized, scale = quantize(vectors)
        return quantized, table.append_column("scale", pa.array(scale))

    def _labelled(self, table: pa.Table) -> pa.Table:
        return table.replace_schema_metadata({KEY: json.dumps(self.about, sort_keys=True)})


class ParquetSink(_Sink):
    """One Parquet file a part."""

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        vectors, table = self._vectors(rows)
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        table = table.add_column(table.schema.get_field_index("duration_s") + 1, "vector", column)
        for name in ("stage", "error"):
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
        return [write_table(folder / "vectors" / f"part-{part:06d}.parquet", self._labelled(table))]


class NpySink(_Sink):
    """A .npy and a Parquet file of the same rows a part."""

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        vectors, table = self._vectors(rows)
        metadata = folder / "metadata" / f"metadata_{part:06d}.parquet"
        return [
            _write_npy(folder / "emb" / f"emb_{part:06d}.npy", vectors),
            write_table(metadata, self._labelled(table)),
        ]


class TokenSink(_Sink):
    """The audio tokens of a part's sounds end to end in a .npy, and a Parquet file that says where each begins."""

    DTYPES = ("bfloat16", "float16")

    def write(self, folder: Path, part: int, rows: Rows) -> list[Path]:
        tokens = np.concatenate([np.zeros((0, self.about["dim"]), np.float32), *rows.results])
        stored = to_bfloat16(tokens) if self.dtype == "bfloat16" else tokens.astype(np.float16)
        counts = np.array([len(result) for result in rows.results], np.int64)
        table = rows.table().append_column("first_token", pa.array(np.cumsum(counts) - counts))
        table = table.append_column("num_tokens", pa.array(counts))
        metadata = folder / "metadata" / f"metadata_{part:06d}.parquet"
        return [
            _write_npy(folder / "tokens" / f"tokens_{part:06d}.npy", stored),
            write_table(metadata, self._labelled(table)),
        ]


SINKS: dict[str, type[ParquetSink] | type[NpySink] | type[TokenSink]] = {
    "parquet": ParquetSink,
    "npy": NpySink,
    "tokens": TokenSink,
}


def _write_npy(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    with written_aside(path) as aside, aside.open("wb") as file:
        np.save(file, array)
    return path
