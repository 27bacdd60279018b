"""The vectors file: what is written is read, one row a sound; what is damaged or foreign is refused by name."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.engine.encoded import Encoded, Failure
from harken.engine.fingerprint import Fingerprint
from harken.engine.vectors import read_vectors, write_vectors
from harken.errors import FileFormatError, InputError, OutputError

MADE = Fingerprint("mini", "aa", None, "mini", "bb", "whisper-80", "float32", "0.1.0")
IDS = ["a.wav", "ö b.wav", "bad.wav", "c.wav"]


def encoded(dim: int = 5) -> Encoded:
    vectors = np.random.default_rng(0).standard_normal((3, dim)).astype(np.float32)
    return Encoded(vectors, [0, 1, 3], [1.5, 0.25, 3.0], [Failure(2, "bad.wav", "read", "bad.wav: is empty")])


def test_comes_back_as_it_was(tmp_path):
    path = tmp_path / "v.parquet"
    write_vectors(path, IDS, encoded(), fingerprint=MADE, made_with={"model": None, "recipe": "mini"})
    table = read_vectors(path)
    assert table.ids == ["a.wav", "ö b.wav", "c.wav"] and table.durations_s == [1.5, 0.25, 3.0]
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, encoded().vectors)
    assert table.failures == encoded().failures and table.fingerprint == MADE
    assert table.made_with == {"model": None, "recipe": "mini"}
    assert [p.name for p in tmp_path.iterdir()] == ["v.parquet"]


def test_any_parquet_reader_sees_one_row_a_sound_in_order(tmp_path):
    path = tmp_path / "v.parquet"
    write_vectors(path, IDS, encoded())
    table = pq.read_table(path)
    assert table["id"].to_pylist() == IDS and table.schema.field("vector").type == pa.list_(pa.float32(), 5)
    assert table["vector"].is_valid().to_pylist() == [True, True, False, True]
    assert table["duration_s"].to_pylist() == [1.5, 0.25, None, 3.0]
    assert table["stage"].to_pylist() == [None, None, "read", None]
    assert table["error"].to_pylist() == [None, None, "bad.wav: is empty", None]
    assert json.loads(table.schema.metadata[b"harken"])["dim"] == 5


@pytest.mark.parametrize("num_failed", [0, 3])
def test_no_vector_at_all_is_a_file_too(tmp_path, num_failed):
    failures = [Failure(i, f"{i}", "read", "broken") for i in range(num_failed)]
    path = tmp_path / "v.parquet"
    write_vectors(path, [f"{i}" for i in range(num_failed)], Encoded(np.zeros((0, 7), np.float32), [], [], failures))
    table = read_vectors(path)
    assert table.ids == [] and table.vectors.shape == (0, 7) and table.failures == failures


def test_parts_that_do_not_add_up_are_refused(tmp_path):
    path, good = tmp_path / "v.parquet", encoded()
    for ids, bad in (
        (IDS[:3], good),
        ([*IDS, "d"], good),
        (IDS, Encoded(good.vectors[:2], good.rows, good.durations_s, good.failures)),
        (IDS, Encoded(good.vectors, good.rows, [1.0], good.failures)),
        (IDS, Encoded(good.vectors, [0, 1, 2], good.durations_s, good.failures)),
    ):
        with pytest.raises(InputError, match=r"v\.parquet"):
            write_vectors(path, ids, bad)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "v.parquet"
    write_vectors(path, IDS, encoded())

    def full(table, where, **options):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OutputError, match=r"v\.parquet: .*No space left"):
        patched.setattr(pq, "write_table", full)
        write_vectors(path, IDS, encoded(9))
    assert read_vectors(path).vectors.shape == (3, 5) and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OutputError, match="cannot be written"):
        write_vectors(tmp_path / "nowhere" / "v.parquet", IDS, encoded())


def test_what_is_no_vectors_file_is_refused_by_name(tmp_path):
    path = tmp_path / "v.parquet"
    with pytest.raises(FileFormatError, match=r"v\.parquet: there is no such file"):
        read_vectors(path)
    with pytest.raises(FileFormatError, match="there is no such file"):
        read_vectors(tmp_path)
    for content in (b"", b"text", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"v\.parquet: cannot be read"):
            read_vectors(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(FileFormatError, match="is Parquet, but no vectors file"):
        read_vectors(path)


def test_a_damaged_vectors_file_is_refused_by_name(tmp_path):
    path = tmp_path / "v.parquet"
    write_vectors(path, IDS, encoded(), fingerprint=MADE)
    content = path.read_bytes()
    for end in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(FileFormatError, match=r"v\.parquet"):
            read_vectors(path)
    path.write_bytes(content)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"harken"])
    for change in ({"version": 9}, {"kind": "hits"}, {"dim": 4}, {"dim": "5"}, {"fingerprint": {"model": "x"}}):
        pq.write_table(table.replace_schema_metadata({"harken": json.dumps({**about, **change})}), path)
        with pytest.raises(FileFormatError, match=r"v\.parquet"):
            read_vectors(path)
    pq.write_table(table.drop_columns(["error"]), path)
    with pytest.raises(FileFormatError, match=r"wanted \['duration_s', 'error'"):
        read_vectors(path)
