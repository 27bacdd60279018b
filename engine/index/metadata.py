"""Columns of a table beside the vectors of an index, joined by id.

Source: own; pyarrow's readers of CSV, JSON lines and Parquet.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import FileFormatError, InputError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def read_metadata(path: Path) -> pa.Table:
    """A table with a column "id" of strings, each once; types of CSV columns are guessed from their values.

    Raises:
        FileFormatError: it cannot be read, or has no such column.
    """
    if path.suffix not in SUFFIXES:
        raise FileFormatError(f"{path}: ends in {path.suffix!r}; wanted one of {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
        elif path.suffix in (".csv", ".tsv"):
            from pyarrow import csv

            parse = csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True)
            # Ids stay text: "007" is no number.
            convert = csv.ConvertOptions(column_types={"id": pa.string()}, strings_can_be_null=True)
            table = csv.read_csv(path, parse_options=parse, convert_options=convert)
        else:
            from pyarrow import json

            table = json.read_json(path)
    except (OSError, pa.ArrowException) as error:
        raise FileFormatError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    if table.column_names.count("id") != 1:
        raise FileFormatError(f"{path}: has columns {table.column_names}; wanted one that is called id")
    ids = table["id"].cast(pa.string())
    counts = pc.value_counts(ids)
    doubled = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if doubled:
        raise FileFormatError(f"{path}: ids stand in it twice: {', '.join(map(str, doubled[:10]))}")
    return table.set_column(table.column_names.index("id"), "id", ids).replace_schema_metadata(None)


def join_metadata(rows: pa.Table, metadata: pa.Table) -> tuple[pa.Table, int]:
    """Put the columns of a table beside rows, by id; gives the wider rows, and how many rows the table does not know.

    Args:
        rows: with "id"; those the table does not know get nulls.
        metadata: from `read_metadata`.

    Raises:
        InputError: a column that is there already.
    """
    doubled = [name for name in metadata.column_names if name != "id" and name in rows.column_names]
    if doubled:
        raise InputError(f"metadata has columns {doubled}, which the index has of its own; wanted other names")
    places = pc.index_in(rows["id"].combine_chunks(), value_set=metadata["id"].combine_chunks())
    for name in metadata.column_names:
        if name != "id":
            rows = rows.append_column(name, metadata[name].combine_chunks().take(places))
    return rows, int(np.count_nonzero(places.is_null().to_numpy(zero_copy_only=False)))
