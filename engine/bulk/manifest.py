"""The list of everything a bulk run will do, frozen before it begins: a Parquet file with the columns of `entry.SCHEMA`.

    sha256 = of one JSON line a row, in order

Source: own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FileFormatError
from ..durable import sha256_of
from . import files
from .entry import Entry

NAME = "manifest.parquet"
ROW_GROUP = 4096
KEY = b"harken.manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A frozen list of sounds. Made by `freeze`, opened by `Manifest.open`."""

    path: Path
    sha256: str
    num_rows: int
    # Bytes of all files that tell their size.
    num_bytes: int
    # Local files that are not there, and the first of them.
    num_missing: int
    missing: tuple[str, ...]
    # Rows of a file and part that an earlier row names too, under another id, and the first of them.
    num_repeated: int
    repeated: tuple[str, ...]
    # Rows left out because an earlier one has their id.
    num_dropped: int
    # What the user named, as `describe_inputs` tells it.
    inputs: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Manifest":
        """Read back what `freeze` wrote.

        Raises:
            FileFormatError: no manifest of this version.
        """
        try:
            kept = pq.read_schema(path).metadata or {}
            values = json.loads(kept[KEY])
            values["missing"], values["repeated"] = tuple(values["missing"]), tuple(values["repeated"])
            return cls(path=path, **values)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise FileFormatError(f"{path}: is no manifest that can be read: {error}") from None

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The rows [start, stop)."""
        found: list[Entry] = []
        with pq.ParquetFile(self.path) as parquet:
            first = start // ROW_GROUP
            for group in range(first, min(parquet.num_row_groups, -(-stop // ROW_GROUP))):
                table = parquet.read_row_group(group)
                begin = group * ROW_GROUP
                part = table.slice(max(0, start - begin), min(stop, begin + ROW_GROUP) - max(start, begin))
                found += [Entry(*row) for row in zip(*(part.column(i).to_pylist() for i in range(part.num_columns)))]
        return found

    @property
    def label(self) -> str:
        """How an error calls it."""
        return f"{self.num_rows} sounds of {', '.join(self.inputs['names'])} (sha256 {self.sha256[:12]})"


def describe_inputs(inputs: Sequence[str], *, duplicates: str, num_first: int | None) -> dict[str, Any]:
    """What was named, with the hash of every local list: the same description stands for the same manifest."""
    lists = [p for p in inputs if files.suffix(p) in (".csv", ".tsv", ".jsonl", ".ndjson") and Path(p).is_file()]
    hashes = {path: sha256_of(Path(path)) for path in lists}
    return {"names": list(inputs), "lists": hashes, "duplicates": duplicates, "num_first": num_first}
