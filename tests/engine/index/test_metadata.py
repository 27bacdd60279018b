"""A table's columns come to stand beside the vectors they are of, by id; what does not fit is named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.engine.index.metadata import join_metadata, read_metadata
from harken.errors import FileFormatError, InputError

ROWS = [{"id": "007", "label": "dog", "year": 2001}, {"id": "b", "label": "cat", "year": 2002}]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_are_joined_by_id(tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    else:
        comma = "\t" if kind == "tsv" else ","
        path.write_text("\n".join(comma.join(map(str, line)) for line in [ROWS[0], *(r.values() for r in ROWS)]))
    joined, num_unknown = join_metadata(pa.table({"id": ["b", "x", "007"], "n": [1, 2, 3]}), read_metadata(path))
    assert num_unknown == 1
    assert joined.to_pylist() == [
        {"id": "b", "n": 1, "label": "cat", "year": 2002},
        {"id": "x", "n": 2, "label": None, "year": None},
        {"id": "007", "n": 3, "label": "dog", "year": 2001},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "name\nx\n", r"has columns \['name'\]; wanted one that is called id"),
        ("t.csv", "id,n\nx,1\nx,2\n", "ids stand in it twice: x"),
        ("t.parquet", "text", "cannot be read as a table"),
        ("t.txt", "id\nx\n", "ends in '.txt'"),
    ],
)
def test_what_is_no_table_of_metadata_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match=said):
        read_metadata(tmp_path / name)


def test_a_column_of_the_index_is_not_replaced():
    with pytest.raises(InputError, match=r"columns \['duration_s'\], which the index has of its own"):
        join_metadata(pa.table({"id": ["a"], "duration_s": [1.0]}), pa.table({"id": ["a"], "duration_s": [2.0]}))
