"""Sounds read ahead: in order, errors in their place, and long ones fewer at a time."""

import numpy as np

from harken.engine import reading
from harken.engine.audio import Waveform
from harken.engine.reading import read_chunks
from harken.errors import AudioError


def load(length, name):
    if length == 0:
        raise AudioError(f"{name}: is empty")
    return Waveform(np.zeros(length, np.float32), 16000, name)


def test_what_cannot_be_read_comes_back_in_its_place(monkeypatch):
    monkeypatch.setattr(reading, "FIRST_CHUNK", 4)
    lengths = [5, 0, 7, 8, 0, 0, 0, 0, 3, 2]
    read = [one for chunk in read_chunks(lengths, load) for one in chunk]
    assert [one.row for one in read] == list(range(10))
    assert [isinstance(one.got, AudioError) for one in read] == [n == 0 for n in lengths]
    assert [len(one.got.samples) for one in read if isinstance(one.got, Waveform)] == [n for n in lengths if n]
    assert list(read_chunks([], load)) == []


def test_long_sounds_are_fewer_at_a_time(monkeypatch):
    monkeypatch.setattr(reading, "FIRST_CHUNK", 2)
    monkeypatch.setattr(reading, "CHUNK", 5)
    monkeypatch.setattr(reading, "CHUNK_SAMPLES", 100)
    sizes = [len(chunk) for chunk in read_chunks([4] * 7 + [50] * 6 + [1000] * 3, load)]
    # Two to begin with, five short ones at most, two of fifty samples, one of a thousand.
    assert sum(sizes) == 16 and sizes[:2] == [2, 5] and max(sizes) == 5 and sizes[-1] == 1
