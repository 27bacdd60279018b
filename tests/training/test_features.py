"""A cache gives back what was encoded and lists what failed; a tower's outputs are those of the engine."""

import numpy as np
import pytest

from harken.errors import AudioError, FileFormatError
from harken.training.data import Row
from harken.training.features import FeatureCache, write_cache
from harken.training.listening import CachedFeatures

ROWS = [Row(str(i), b"") for i in range(10)]


def encode(some):
    for row in some:
        yield "3: not a sound" if row.id == "3" else np.full((int(row.id) + 1, 4), int(row.id), np.float32)


def test_a_cache_gives_back_the_rows_and_lists_what_failed(tmp_path):
    assert write_cache(tmp_path / "cache", ROWS, encode, "test") == ["3: not a sound"]
    cache = FeatureCache(tmp_path / "cache")
    assert "3" not in cache and cache["7"].shape == (8, 4) and (cache["7"] == 7).all() and (cache["0"] == 0).all()
    there, problems = CachedFeatures(tmp_path / "cache").usable(ROWS)
    assert len(there) == 9 and problems[0].startswith("3: not in the cache")


def test_a_cache_without_a_single_sound_or_file_is_an_error(tmp_path):
    with pytest.raises(AudioError, match="not one of 10 sounds"):
        write_cache(tmp_path / "cache", ROWS, lambda some: iter(["bad"] * len(some)), "test")
    with pytest.raises(FileFormatError, match="cannot be read as a cache"):
        FeatureCache(tmp_path / "cache")
