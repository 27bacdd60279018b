"""An index goes to faiss and usearch files and back without losing a row, an id or a bit."""

import numpy as np
import pytest

from harken.engine.index import Index
from harken.engine.index.interop import export, import_
from harken.errors import BackendError, FileFormatError, InputError

PACKAGES = {"faiss": "faiss", "usearch": "usearch.index"}
COUNT, DIM = 200, 16


@pytest.fixture
def index(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((COUNT, DIM)).astype(np.float32)
    index = Index.build(vectors, [f"s{i}.wav" for i in range(COUNT)], metadata={"length": list(range(COUNT))})
    index.save(tmp_path / "x.harken")
    return index


@pytest.mark.parametrize("kind", PACKAGES)
def test_there_and_back(index, tmp_path, kind):
    pytest.importorskip(PACKAGES[kind], reason=f"{kind} is not installed")
    export(tmp_path / "x.harken", tmp_path / f"x.{kind}")
    back = import_(tmp_path / f"x.{kind}")
    assert back.ids == index.ids and back.metadata.equals(index.metadata)
    assert np.array_equal(back._stored.vectors, index._stored.vectors)
    (tmp_path / f"x.{kind}.ids.parquet").unlink()
    assert import_(tmp_path / f"x.{kind}").ids == [str(i) for i in range(COUNT)]


def test_faiss_finds_the_same(index, tmp_path):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    export(tmp_path / "x.harken", tmp_path / "x.faiss")
    queries = np.random.default_rng(1).standard_normal((7, DIM)).astype(np.float32)
    scores, found = faiss.read_index(str(tmp_path / "x.faiss")).search(queries, 5)
    hits = index.search(queries, 5)
    assert np.array_equal(found, hits.positions) and np.allclose(scores, hits.scores, atol=1e-5)


def test_int8_is_exported_as_what_it_stands_for(index, tmp_path):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    small = Index.build(index._stored.vectors, index.ids, dtype="int8")
    small.save(tmp_path / "small.harken")
    export(tmp_path / "small.harken", tmp_path / "small.faiss")
    whole = faiss.read_index(str(tmp_path / "small.faiss"))
    flat = faiss.downcast_index(whole.index)
    expected = small._stored.vectors * small._stored.scales[:, None]
    assert np.array_equal(flat.reconstruct_n(0, COUNT), expected)


def test_what_cannot_be_is_named(index, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"ends in '\.npy'; wanted one of"):
        export(tmp_path / "x.harken", tmp_path / "x.npy")
    for kind, module in PACKAGES.items():
        with monkeypatch.context() as context:
            context.setitem(__import__("sys").modules, module, None)
            with pytest.raises(BackendError, match=f"wants the package {kind}"):
                export(tmp_path / "x.harken", tmp_path / f"x.{kind}")
        pytest.importorskip(module, reason=f"{kind} is not installed")
        with pytest.raises(FileFormatError, match="there is no such file"):
            import_(tmp_path / f"none.{kind}")
        (tmp_path / f"bad.{kind}").write_bytes(b"no index")
        with pytest.raises(FileFormatError, match=f"bad.{kind}"):
            import_(tmp_path / f"bad.{kind}")
