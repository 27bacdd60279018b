"""Index.search: the answer of a naive sort in float64, for every dtype, filter and shape; what does not fit is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.fingerprint import Fingerprint
from harken.engine.index import Hit, Index
from harken.errors import FingerprintError, InputError

from ...tolerances import INDEX_SCORE_ATOL

MADE = Fingerprint("mini", "aa", None, "mini", "bb", "whisper-80", "float32", "0.1.0")


def naive(queries: np.ndarray, corpus: np.ndarray, k: int, mask: np.ndarray) -> list[list[int]]:
    """Positions best first, ties by position, by a sort of all float64 scores."""
    scores = queries.astype(np.float64) @ corpus.astype(np.float64).T
    order = [sorted(np.flatnonzero(mask), key=lambda i, row=row: (-row[i], i)) for row in scores]
    return [[int(i) for i in row[:k]] for row in order]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 200),
    d=st.integers(1, 40),
    q=st.integers(1, 5),
    k=st.integers(1, 30),
    keep=st.floats(0, 1),
)
def test_equals_a_naive_sort_also_where_scores_tie(seed, n, d, q, k, keep):
    """Small whole numbers score exactly in float32, and tie often."""
    rng = np.random.default_rng(seed)
    corpus, queries = rng.integers(-2, 3, (n, d)).astype(np.float32), rng.integers(-2, 3, (q, d)).astype(np.float32)
    mask = rng.uniform(size=n) < keep
    index = Index.build(corpus, [f"clip {i}" for i in range(n)])
    want = naive(queries, corpus, k, mask)
    for filter in (mask, [f"clip {i}" for i in np.flatnonzero(mask)]):
        hits = index.search(queries, k, filter=filter)
        assert hits.ids == [[f"clip {i}" for i in row] for row in want]
        assert hits.positions.shape == hits.scores.shape == (q, k)
        for query, row, positions, scores in zip(queries, want, hits.positions, hits.scores):
            assert list(positions) == row + [-1] * (k - len(row))
            np.testing.assert_array_equal(scores[: len(row)], corpus[row] @ query)
            assert (scores[len(row) :] == -np.inf).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_scores_are_those_of_float64_on_the_stored_numbers(dtype):
    rng = np.random.default_rng(5)
    corpus = rng.standard_normal((500, 64)).astype(np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    queries = corpus[:7] + 0.1 * rng.standard_normal((7, 64)).astype(np.float32)
    hits = Index.build(corpus, dtype=dtype).search(queries, 5)
    assert [row[0] for row in hits.positions] == list(range(7))
    exact = queries.astype(np.float64) @ corpus.astype(np.float64).T
    for query, (positions, scores) in enumerate(zip(hits.positions, hits.scores)):
        np.testing.assert_allclose(scores, exact[query, positions], rtol=0, atol=INDEX_SCORE_ATOL[dtype])


def test_hits_iterate_as_lists_of_hits():
    hits = Index.build(np.eye(3, dtype=np.float32), ["a", "b", "c"]).search(np.float32([0.5, 1.0, 0.0]), 2)
    assert list(hits) == [[Hit("b", 1.0, 1), Hit("a", 0.5, 0)]] and len(hits) == 1


def test_ids_default_to_positions_and_take_paths():
    assert Index.build(np.eye(2)).ids == ["0", "1"]
    assert Index.build(np.eye(2), [Path("x/a.wav"), "b"]).ids == ["x/a.wav", "b"]
    assert len(Index.build(np.zeros((0, 4)))) == 0
    assert Index.build(np.zeros((0, 4))).search(np.ones(4), 3).ids == [[]]


def test_metadata_stands_beside_the_ids():
    index = Index.build(np.eye(2), ["a", "b"], metadata={"caption": ["a dog", "a cat"], "seconds": [1.0, 2.0]})
    assert index.metadata.to_pylist()[1] == {"caption": "a cat", "seconds": 2.0} and index.dim == 2
    for wrong in ({"caption": ["one"]}, {"id": ["x", "y"]}, {"c": [1, 2], "d": [1]}):
        with pytest.raises(InputError, match="metadata"):
            Index.build(np.eye(2), metadata=wrong)
    assert Index.build(np.eye(2), metadata=pa.table({"n": [1, 2]})).metadata["n"].to_pylist() == [1, 2]


def test_what_cannot_be_indexed_is_refused_by_name():
    with pytest.raises(InputError, match="id 'dog' is given twice, for vectors 0 and 2"):
        Index.build(np.eye(3), ["dog", "cat", "dog"])
    with pytest.raises(InputError, match="wanted 3 ids, one a vector, got 2"):
        Index.build(np.eye(3), ["a", "b"])
    with pytest.raises(InputError, match=r"ids\[1\] is 7"):
        Index.build(np.eye(2), ["a", 7])
    for bad in (np.nan, np.inf, -np.inf):
        vectors = np.eye(3)
        vectors[1, 2] = bad
        for dtype in ("float32", "float16", "int8"):
            with pytest.raises(InputError, match=r"vector 1 \(id 'b'\) holds NaN or infinity"):
                Index.build(vectors, ["a", "b", "c"], dtype=dtype)
    with pytest.raises(InputError, match="as float16"):
        Index.build(np.full((1, 2), 1e5), dtype="float16")
    Index.build(np.full((1, 2), 3e38, np.float32))
    for wrong in (np.eye(3)[0], np.eye(3, dtype=int), np.zeros((3, 0)), [["a"]]):
        with pytest.raises(InputError, match="vectors must be"):
            Index.build(wrong)
    with pytest.raises(InputError, match="'int4'"):
        Index.build(np.eye(3), dtype="int4")


def test_what_cannot_be_searched_is_refused():
    index = Index.build(np.eye(3), ["a", "b", "c"])
    for wrong in (np.eye(2), np.zeros((1, 1, 3)), np.zeros(3, int), np.float32(1)):
        with pytest.raises(InputError, match=r"queries must be \[q, 3\]"):
            index.search(wrong)
    with pytest.raises(InputError, match="NaN"):
        index.search(np.float32([0, np.nan, 0]))
    for k in (0, -1, 5000):
        with pytest.raises(InputError, match="k must be"):
            index.search(np.ones(3), k)
    with pytest.raises(InputError, match="'z', which is not in the index"):
        index.search(np.ones(3), filter=["a", "z"])
    for wrong in (np.ones(2, bool), np.arange(3), [[True, False, True]]):
        with pytest.raises(InputError, match="filter must be a condition, bool"):
            index.search(np.ones(3), filter=wrong)
    assert index.search(np.ones(3), filter=[]).ids == [[]]


def test_vectors_of_two_makings_are_not_compared():
    index = Index.build(np.eye(3), fingerprint=MADE)
    index.search(np.ones(3), fingerprint=replace(MADE, version="0.2.0"))
    other = replace(MADE, dtype="bfloat16")
    with pytest.raises(FingerprintError) as caught:
        index.search(np.ones(3), fingerprint=other)
    assert MADE.id in str(caught.value) and other.id in str(caught.value) and "dtype" in str(caught.value)
    with pytest.raises(FingerprintError, match="no fingerprint"):
        Index.build(np.eye(3)).search(np.ones(3), fingerprint=MADE)
