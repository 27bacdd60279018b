"""What stands beside each vector of an index, and what a vector must be to stand in one.

Source: own.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import InputError


def make_rows(
    ids: Sequence[str | os.PathLike[str]] | None,
    count: int,
    metadata: Mapping[str, Sequence[Any]] | pa.Table | None,
) -> pa.Table:
    """The table of ids and metadata, one row a vector.

    Raises:
        InputError: a number of ids or values other than count, an id that is no string or is given twice.
    """
    names = pa.array(_names(ids, count), pa.string())
    if metadata is None:
        return pa.table({"id": names})
    try:
        table = metadata if isinstance(metadata, pa.Table) else pa.table({k: list(v) for k, v in metadata.items()})
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"metadata cannot be made a table: {error}") from None
    if "id" in table.column_names or len(table) != count:
        raise InputError(
            f"metadata must have {count} rows and no column 'id', got {len(table)} of {table.column_names}"
        )
    return table.add_column(0, "id", names).combine_chunks()


def refuse_not_finite(vectors: np.ndarray, rows: pa.Table, how: str) -> None:
    """Raise InputError for the first row that holds NaN or infinity; `how` ends the clause."""
    # A row's sum is finite if its components are, unless it overflows: only suspects are looked at one by one.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
    for row in suspects:
        if not np.isfinite(vectors[row]).all():
            name = rows["id"][int(row)].as_py()
            raise InputError(f"vector {row} (id {name!r}) holds NaN or infinity{how}; wanted finite numbers")


def _names(ids: Sequence[str | os.PathLike[str]] | None, count: int) -> list[str]:
    if ids is None:
        return [str(i) for i in range(count)]
    if isinstance(ids, str) or len(ids) != count:
        raise InputError(f"wanted {count} ids, one a vector, got {len(ids)}")
    seen: dict[str, int] = {}
    for i, name in enumerate(ids):
        if not isinstance(name, str | os.PathLike):
            raise InputError(f"ids[{i}] is {name!r}; wanted a string or a path")
        first = seen.setdefault(os.fspath(name), i)
        if first != i:
            raise InputError(
                f"id {os.fspath(name)!r} is given twice, for vectors {first} and {i}; wanted different ids"
            )
    return list(seen)
