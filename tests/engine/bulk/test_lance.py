"""A Lance dataset of a run holds the run's rows, and is whole or not there."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk.lance import lance_run
from harken.errors import FileFormatError, InputError

from .fake import FakeEncoder
from .sounds import fill

lance = pytest.importorskip("lance", reason="pylance is not installed: pip install 'harken[lance]'")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_rows_are_those_of_the_run(tmp_path, dtype):
    run = tmp_path / "run"
    settings = Settings(dtype=dtype, part_rows=4)
    run_bulk([str(fill(tmp_path / "in", 11))], run, FakeEncoder, settings=settings, engine=LocalEngine(2))
    assert lance_run(run, tmp_path / "x.lance") == 11
    table = lance.dataset(str(tmp_path / "x.lance")).to_table()
    parts = [pq.read_table(path) for path in sorted((run / "vectors").iterdir())]
    assert table.to_pylist() == [row for part in parts for row in part.to_pylist()]
    assert str(table.schema.field("vector").type.value_type) == {"float32": "float", "float16": "halffloat"}.get(
        dtype, "int8"
    )
    found = lance.dataset(str(tmp_path / "x.lance")).to_table(filter="duration_s > 0.1", columns=["id"])
    assert found.num_rows == int(np.sum(np.array(table["duration_s"]) > 0.1))


def test_what_cannot_become_lance_is_named(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(FileFormatError, match="is no run's folder"):
        lance_run(tmp_path, tmp_path / "x.lance")
    run_bulk([str(fill(tmp_path / "in", 9))], run, FakeEncoder, settings=Settings("npy"), engine=LocalEngine(2))
    with pytest.raises(InputError, match="is of format npy; wanted parquet"):
        lance_run(run, tmp_path / "x.lance")
    run = tmp_path / "run2"
    run_bulk([str(tmp_path / "in")], run, FakeEncoder, settings=Settings(part_rows=4), engine=LocalEngine(2))
    (run / "vectors" / "part-000001.parquet").write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match="a part cannot be read"):
        lance_run(run, tmp_path / "x.lance")
    assert not (tmp_path / "x.lance").exists() and not (tmp_path / "x.lance.tmp").exists()
    (tmp_path / "there.lance").mkdir()
    with pytest.raises(InputError, match="is there already"):
        lance_run(run, tmp_path / "there.lance")
