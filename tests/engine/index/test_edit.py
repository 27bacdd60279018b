"""Indexes merged, added to and cut hold exactly the rows they should, in order; what does not fit changes nothing."""

import numpy as np
import pytest

from harken.engine.fingerprint import Fingerprint
from harken.engine.index import Index
from harken.engine.index import edit as edit_module
from harken.engine.index.edit import add, delete, merge
from harken.errors import FingerprintError, InputError

DIM = 6


def fingerprint(weights="a"):
    return Fingerprint("m", weights, None, "r", "r", "f", "float32", "0")


def build(folder, name, count, seed, dtype="float32", made=None, **options):
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    index = Index.build(
        vectors,
        [f"{name}{i}" for i in range(count)],
        fingerprint=fingerprint() if made is None else made,
        metadata={"length": list(range(count))},
        dtype=dtype,
        **options,
    )
    index.save(folder / f"{name}.harken")
    return folder / f"{name}.harken", vectors


def rows(path):
    stored = Index.open(path)._stored
    scales = np.ones(len(stored.vectors), np.float32) if stored.scales is None else stored.scales
    return stored.rows["id"].to_pylist(), stored.vectors.astype(np.float32) * scales[:, None]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_merge_add_delete(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(edit_module, "CHUNK_ROWS", 4)
    paths = [build(tmp_path, name, count, seed, dtype)[0] for seed, (name, count) in enumerate([("a", 9), ("b", 1)])]
    merge(paths, tmp_path / "ab.harken")
    parts = [rows(path) for path in paths]
    names, vectors = rows(tmp_path / "ab.harken")
    assert names == [f"a{i}" for i in range(9)] + ["b0"]
    assert np.array_equal(vectors, np.concatenate([v for _, v in parts]))
    assert Index.open(tmp_path / "ab.harken").metadata["length"].to_pylist() == [*range(9), 0]
    Index.open(tmp_path / "ab.harken").verify()

    more = np.random.default_rng(5).standard_normal((3, DIM)).astype(np.float32)
    add(tmp_path / "ab.harken", Index.build(more, ["x", "y", "z"], fingerprint=fingerprint()))
    names, after = rows(tmp_path / "ab.harken")
    stored = Index.build(more, ["x", "y", "z"], dtype=dtype)._stored
    scales = 1 if stored.scales is None else stored.scales[:, None]
    assert names[-3:] == ["x", "y", "z"] and np.array_equal(after[:10], vectors)
    assert np.array_equal(after[10:], stored.vectors.astype(np.float32) * scales)
    assert Index.open(tmp_path / "ab.harken").metadata["length"].to_pylist()[-3:] == [None] * 3

    delete(tmp_path / "ab.harken", ["y", "a0", "a8", "a0"])
    names, left = rows(tmp_path / "ab.harken")
    assert names == [f"a{i}" for i in range(1, 8)] + ["b0", "x", "z"]
    assert np.array_equal(left, after[[*range(1, 8), 9, 10, 12]])
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_everything_can_be_deleted(tmp_path):
    path, _ = build(tmp_path, "a", 3, 0)
    delete(path, ["a0", "a1", "a2"])
    assert len(Index.open(path)) == 0


def test_what_does_not_fit_changes_nothing(tmp_path):
    a, vectors = build(tmp_path, "a", 5, 0)
    half, _ = build(tmp_path, "h", 5, 1, "float16")
    other, _ = build(tmp_path, "o", 5, 1, made=fingerprint("b"))
    before = {p.name: p.read_bytes() for p in a.iterdir()}
    attempts = [
        (lambda: merge([], tmp_path / "x"), InputError, "no index is named"),
        (lambda: merge([a, half], tmp_path / "x"), InputError, "6 float32 a row and 6 float16 a row"),
        (lambda: merge([a, other], tmp_path / "x"), FingerprintError, "differ in weights_sha256"),
        (lambda: merge([a, a], tmp_path / "x"), InputError, r"ids occur twice: a0, a1, a2, a3, a4$"),
        (lambda: add(a, Index.open(other)), FingerprintError, "differ in weights_sha256"),
        (
            lambda: add(a, Index.build(vectors, list("vwxyz"))),
            InputError,
            "one has a fingerprint and the other has none",
        ),
        (lambda: add(a, Index.build(vectors, fingerprint=fingerprint(), dtype="int8")), InputError, "got rows of int8"),
        (lambda: add(a, Index.open(a)), InputError, "ids occur twice"),
        (lambda: delete(a, ["a1", "b", "c"]), InputError, "2 ids are not in the index: b, c$"),
    ]
    for attempt, kind, said in attempts:
        with pytest.raises(kind, match=said):
            attempt()
    assert {p.name: p.read_bytes() for p in a.iterdir()} == before and not (tmp_path / "x").exists()
