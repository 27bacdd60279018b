"""An index folder read in C++: the hits, names and fingerprint of the Python engine; damaged folders are errors."""

import json

import numpy as np
import pytest

from harken import csrc
from harken.engine.fingerprint import Fingerprint
from harken.engine.index import Index
from harken.errors import FileFormatError
from harken.kernels import cpp

if cpp.missing():
    pytest.skip(f"the C++ core cannot run here: {cpp.missing()}", allow_module_level=True)

MADE_BY = Fingerprint("m", "0" * 64, None, 'aur\u00f6la "x"\n', "1" * 64, "whisper-128", "float32", "0.1.0")


def made(folder, dtype="float32", n=500, fingerprint=MADE_BY):
    vectors = np.random.default_rng(0).standard_normal((n, 48)).astype(np.float32)
    ids = [f"clip \u00fc{i}.wav" for i in range(n)]
    index = Index.build(
        vectors, ids, dtype=dtype, fingerprint=fingerprint, metadata={"label": ["x"] * n, "year": [1] * n}
    )
    index.save(folder)
    return index


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_hits_names_and_fingerprint_are_pythons(dtype, tmp_path):
    index = made(tmp_path / "a.harken", dtype)
    core = csrc.core().IndexFile(str(tmp_path / "a.harken"))
    assert (len(core), core.dim, core.fingerprint) == (500, 48, MADE_BY.id)
    assert [core.id(row) for row in range(500)] == index.ids
    queries = np.random.default_rng(1).standard_normal((7, 48)).astype(np.float32)
    want = index.search(queries, 20)
    scores, rows = core.search(csrc.core().ThreadPool(2), queries, 20)
    assert np.array_equal(rows, want.positions)
    np.testing.assert_allclose(scores, want.scores, rtol=1e-6, atol=1e-5)


def test_without_rows_or_fingerprint(tmp_path):
    made(tmp_path / "none.harken", n=0, fingerprint=None)
    core = csrc.core().IndexFile(str(tmp_path / "none.harken"))
    assert (len(core), core.dim, core.fingerprint) == (0, 48, "")
    scores, rows = core.search(csrc.core().ThreadPool(1), np.ones((1, 48), np.float32), 3)
    assert rows.tolist() == [[-1, -1, -1]] and np.isneginf(scores).all()


def test_damaged_folders_are_errors(tmp_path):
    folder = tmp_path / "a.harken"
    made(folder, "int8")
    about = json.loads((folder / "index.json").read_text())

    def refused(text, **change):
        (folder / "index.json").write_text(json.dumps(about | change))
        with pytest.raises(FileFormatError, match=text):
            csrc.core().IndexFile(str(folder))
        (folder / "index.json").write_text(json.dumps(about))

    with pytest.raises(FileFormatError, match="no such folder"):
        csrc.core().IndexFile(str(tmp_path / "other"))
    with pytest.raises(FileFormatError, match="there is no index.json"):
        csrc.core().IndexFile(str(tmp_path))
    refused("no harken index of version 1", version=2)
    refused("says -1 rows", count=-1)
    refused("501 rows, and there are 500 ids", count=501)
    refused("says 500 rows of 0", dim=0)
    refused("which is not what index.json says", dim=49)
    refused("dtype bfloat16", dtype="bfloat16")
    refused('"files"', files=None)
    for name in ("../a", "", "a/b", ".."):
        refused("wanted one in the folder", files=about["files"] | {"rows": about["files"]["rows"] | {"name": name}})
    refused("is missing", files=about["files"] | {"rows": about["files"]["rows"] | {"name": "none"}})
    for file in about["files"].values():
        path = folder / file["name"]
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        refused(f"wanted {file['bytes']}")
        path.unlink()
        refused("is missing from the index")
        path.write_bytes(whole)
