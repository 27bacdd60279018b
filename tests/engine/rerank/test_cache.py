"""The cache: never above its bound, and what it gives back is what was put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.engine.rerank.cache import ByteLRU
from harken.errors import InputError

ACTIONS = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 40)), max_size=200)


@given(max_bytes=st.integers(0, 100), actions=ACTIONS)
def test_never_above_its_bound_and_never_wrong(max_bytes, actions):
    cache: ByteLRU[tuple] = ByteLRU(max_bytes)
    put: dict[int, tuple] = {}
    for is_put, key, size in actions:
        if is_put:
            put[key] = key, size
            cache.put(key, put[key], size)
        else:
            assert cache.get(key) in (None, put.get(key))
        assert cache.num_bytes <= max_bytes
        assert cache.num_bytes == sum(put[key][1] for key in range(10) if key in cache)


def test_the_longest_unused_goes_first():
    cache: ByteLRU[str] = ByteLRU(3)
    for key in "abc":
        cache.put(key, key, 1)
    assert cache.get("a") == "a"
    cache.put("d", "d", 1)
    assert cache.get("b") is None and [cache.get(key) for key in "acd"] == ["a", "c", "d"]


def test_a_value_larger_than_the_cache_leaves_the_others():
    cache: ByteLRU[str] = ByteLRU(3)
    cache.put("a", "a", 3)
    cache.put("b", "b", 4)
    assert cache.get("a") == "a" and cache.get("b") is None


def test_a_negative_bound_is_refused():
    with pytest.raises(InputError, match="0 bytes or more, got -1"):
        ByteLRU(-1)
