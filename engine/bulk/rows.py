"""The rows of a part: what came of its sounds, and the tables that tell of them and of those that failed.

Source: own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..durable import written_aside
from .entry import Entry
from .reading import Failed

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


@dataclass(slots=True)
class Rows:
    """What came of the sounds of a part, in the manifest's order."""

    rows: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    # Each [d] float32; of audio tokens [tokens, d].
    results: list[np.ndarray] = field(default_factory=list)

    def add(self, row: int, entry: Entry, duration_s: float, result: np.ndarray) -> None:
        self.rows.append(row)
        self.entries.append(entry)
        self.durations_s.append(duration_s)
        self.results.append(result)

    def stacked(self, dim: int) -> np.ndarray:
        """[m, d] float32."""
        return np.stack(self.results) if self.results else np.zeros((0, dim), np.float32)

    def table(self) -> pa.Table:
        """All but the results: where each sound is and how long it lasts; `row` is its row of the manifest."""
        of = lambda name: [getattr(entry, name) for entry in self.entries]
        return pa.table(
            {
                "id": pa.array(of("id"), pa.string()),
                "uri": pa.array(of("uri"), pa.string()),
                "member": pa.array(of("member"), pa.string()),
                "source_row": pa.array(of("row"), pa.int64()),
                "start_s": pa.array(of("start_s"), pa.float64()),
                "end_s": pa.array(of("end_s"), pa.float64()),
                "row": pa.array(self.rows, pa.int64()),
                "duration_s": pa.array(self.durations_s, pa.float32()),
            }
        )


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
