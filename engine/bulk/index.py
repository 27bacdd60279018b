"""A finished bulk run as an index: its parts are read one after the other, their vectors as they are stored.

Source: own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ...errors import FileFormatError
from ..fingerprint import Fingerprint
from ..index.edit import Piece, write_pieces
from ..index.metadata import join_metadata, read_metadata
from .identity import NAME, require_identity
from .ledger import finished_parts

METADATA = ("uri", "member", "source_row", "start_s", "end_s", "duration_s")


def index_run(run: Path, out: Path, metadata: Path | None = None) -> tuple[int, int]:
    """Write an index of all vectors of a run; it stores what the run stored, float32, float16 or int8.

    Args:
        run: folder of the run.
        out: folder of the index, by custom NAME.harken.
        metadata: a table whose columns are joined by id, see index/metadata.py.

    Returns: the number of rows, and how many of them the table does not know.

    Raises:
        FileFormatError: no run's folder, or a part is missing or damaged.
        InputError: two sounds of one id.
        OutputError: the index cannot be written.
    """
    identity, parts = require_identity(run), finished_parts(run)
    settings = identity["settings"]
    if settings["format"] == "tokens":
        raise FileFormatError(f"{run}: holds audio tokens; wanted a run of vectors")
    told = {name: value for name, value in identity["fingerprint"].items() if name != "id"}
    count = sum(part.num_ok for part in parts)
    table = None if metadata is None else read_metadata(metadata)
    num_unknown = 0

    def pieces() -> Iterator[Piece]:
        nonlocal num_unknown
        for part in parts:
            piece = _piece(run, part.part, settings)
            if table is not None:
                rows, num_more = join_metadata(piece.rows, table)
                piece, num_unknown = Piece(piece.vectors, piece.scales, rows), num_unknown + num_more
            yield piece

    first = _piece(run, parts[0].part, settings)
    write_pieces(
        out,
        pieces(),
        count=count,
        dim=first.vectors.shape[1],
        dtype=settings["dtype"],
        fingerprint=Fingerprint.from_dict(told, str(run / NAME)),
        made_with=identity["made_with"],
    )
    return count, num_unknown


def _piece(run: Path, part: int, settings: dict[str, Any]) -> Piece:
    try:
        if settings["format"] == "npy":
            table = pq.read_table(run / "metadata" / f"metadata_{part:06d}.parquet")
            vectors = np.load(run / "emb" / f"emb_{part:06d}.npy", mmap_mode="r")
        else:
            table = pq.read_table(run / "vectors" / f"part-{part:06d}.parquet", partitioning=None)
            width = table.schema.field("vector").type.list_size
            flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            vectors = flat.reshape(-1, width)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{run}: part {part} cannot be read: {error}") from None
    scales = table["scale"].to_numpy() if "scale" in table.column_names else None
    return Piece(vectors, scales, table.select(["id", *METADATA]).replace_schema_metadata(None))
