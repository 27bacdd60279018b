"""An index on disk: comes back as it was, survives a kill at any step of saving, and tells what is damaged."""

import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest

from harken.engine.index import Index
from harken.errors import FileFormatError, InputError, OutputError

from .test_index import MADE


def build(seed: int = 0, n: int = 20, dtype: str = "float32") -> Index:
    vectors = np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)
    ids = [f"{seed}-{i}" for i in range(n)]
    return Index.build(vectors, ids, fingerprint=MADE, metadata={"n": range(n)}, dtype=dtype, made_with={"model": "m"})


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("n", [0, 1, 20])
def test_comes_back_as_it_was(tmp_path, dtype, n):
    index = build(n=n, dtype=dtype)
    index.save(tmp_path / "a.harken")
    opened = Index.open(tmp_path / "a.harken")
    opened.verify()
    assert (len(opened), opened.dim, opened.dtype, opened.ids) == (n, 8, dtype, index.ids)
    assert opened.fingerprint == MADE and opened.made_with == {"model": "m"}
    assert opened.metadata.equals(index.metadata)
    queries = np.random.default_rng(1).standard_normal((3, 8))
    a, b = index.search(queries, 5), opened.search(queries, 5)
    assert a.ids == b.ids
    np.testing.assert_array_equal(a.scores, b.scores)


def test_the_same_vectors_give_the_same_bytes(tmp_path):
    for name in ("a.harken", "b.harken"):
        build().save(tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a.harken").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b.harken").iterdir()) and len(files) == 3
    for name in files:
        assert (tmp_path / "a.harken" / name).read_bytes() == (tmp_path / "b.harken" / name).read_bytes()


def test_opening_reads_no_vectors(tmp_path):
    Index.build(np.ones((100_000, 16), np.float32)).save(tmp_path / "big.harken")
    Index.open(tmp_path / "big.harken")
    tracemalloc.start()
    index = Index.open(tmp_path / "big.harken")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(index) == 100_000 and peak_bytes < 200_000


class Killed(BaseException):
    """Not an Exception: nothing in the code may catch it and go on."""


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_step_leaves_the_old_index_or_the_new_one(tmp_path, monkeypatch, step):
    folder = tmp_path / "a.harken"
    build(0).save(folder)
    steps = 0

    def dying(real):
        def call(*args, **kwargs):
            nonlocal steps
            if steps == step:
                raise Killed
            steps += 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for name in ("fsync", "replace", "rename", "unlink"):
            patched.setattr(os, name, dying(getattr(os, name)))
        try:
            build(1).save(folder)
            finished = True
        except Killed:
            finished = False
    opened = Index.open(folder)
    opened.verify()
    assert opened.ids in ([build(1).ids] if finished else [build(0).ids, build(1).ids])
    # what the kill left behind is swept up by the next save
    build(2).save(folder)
    assert Index.open(folder).ids == build(2).ids and len(list(folder.iterdir())) == 3


def test_an_open_index_outlives_its_replacement(tmp_path):
    build(0).save(tmp_path / "a.harken")
    old = Index.open(tmp_path / "a.harken")
    build(1, n=3).save(tmp_path / "a.harken")
    assert old.search(np.ones(8), 20).ids[0] and len(Index.open(tmp_path / "a.harken")) == 3
    old.save(tmp_path / "a.harken")
    assert Index.open(tmp_path / "a.harken").ids == old.ids


def test_damage_is_named(tmp_path):
    folder = tmp_path / "a.harken"
    build(dtype="int8").save(folder)
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(FileFormatError, match=path.name):
            Index.open(folder)
        path.unlink()
        with pytest.raises(FileFormatError, match=path.name):
            Index.open(folder)
        path.write_bytes(content)
    vectors = next(folder.glob("vectors-*"))
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"{vectors.name}: content is damaged"):
        Index.open(folder).verify()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"version": 99},
        {"count": 21},
        {"count": -1},
        {"count": "20"},
        {"dim": 7},
        {"dtype": "float16"},
        {"dtype": "object"},
        {"files": {}},
        {"files": None},
        {"made_with": None},
        {"fingerprint": {"model": "x"}},
        {"fingerprint": 3},
    ],
    ids=str,
)
def test_an_index_json_that_lies_is_refused(tmp_path, change):
    folder = tmp_path / "a.harken"
    build().save(folder)
    about = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(FileFormatError, match=r"a\.harken"):
        Index.open(folder)


def test_a_file_outside_the_folder_is_not_opened(tmp_path):
    folder = tmp_path / "a.harken"
    build().save(folder)
    about = json.loads((folder / "index.json").read_text())
    shutil.move(folder / about["files"]["vectors"]["name"], tmp_path / "outside.npy")
    about["files"]["vectors"]["name"] = "../outside.npy"
    (folder / "index.json").write_text(json.dumps(about))
    with pytest.raises(FileFormatError, match="is damaged"):
        Index.open(folder)


def test_what_is_no_index_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(FileFormatError, match="is no index"):
            Index.open(path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileFormatError, match="is no index"):
        Index.open(tmp_path / "file")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(OutputError, match="is no index; wanted a new name"):
            build().save(taken)
    with pytest.raises(OutputError, match="cannot be written"):
        build().save(tmp_path / "file" / "a.harken")
    with pytest.raises(InputError, match="not on disk"):
        build().verify()
