"""The rows of an index, given back as vectors."""

import numpy as np
import pytest

from harken.engine.index import Index
from harken.errors import InputError


@pytest.mark.parametrize("dtype, off", [("float32", 0.0), ("float16", 1e-3), ("int8", 0.01)])
def test_rows_come_back_in_the_order_asked_for(dtype, off):
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    got = Index.build(vectors, dtype=dtype).vectors([3, 0])
    assert got.dtype == np.float32 and np.abs(got - vectors[[3, 0]]).max() <= off


@pytest.mark.parametrize("positions", [[5], [-1]])
def test_rows_that_are_not_there_are_refused(positions):
    with pytest.raises(InputError, match="positions must be .* 0..4"):
        Index.build(np.eye(5, dtype=np.float32)).vectors(positions)
