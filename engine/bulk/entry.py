"""One sound of a bulk run: where it is and what it is called.

Source: own.
"""

import json
from dataclasses import astuple, dataclass

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("offset_bytes", pa.int64()),
        pa.field("row", pa.int64()),
        pa.field("size_bytes", pa.int64()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the manifest; fields in the order of SCHEMA."""

    # Unique in the manifest.
    id: str
    # Path or URL of the file that holds the sound.
    uri: str
    # Name inside a tar, and where its bytes begin.
    member: str | None = None
    offset_bytes: int | None = None
    # Row of a Parquet file.
    row: int | None = None
    # None: not known, or the file is not there.
    size_bytes: int | None = None
    # The part of the sound that is meant; None: from its beginning, to its end.
    start_s: float | None = None
    end_s: float | None = None

    def line(self) -> bytes:
        """What the hash of a manifest is made of."""
        return json.dumps(astuple(self), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @property
    def place(self) -> tuple[object, ...]:
        """What is read, whatever it is called."""
        return self.uri, self.member, self.row, self.start_s, self.end_s

    @property
    def name(self) -> str:
        """What errors call it."""
        if self.member is not None:
            return f"{self.uri}:{self.member}"
        return self.uri if self.row is None else f"{self.uri} row {self.row}"
