"""Long silences go, everything else stays as it was."""

import numpy as np
import pytest

from harken.engine.audio import Waveform
from harken.engine.audio.segment import drop_silences

RATE = 16000


def sound(seconds, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def kept(*parts, silence_db=40.0, silence_s=1.0):
    clip = Waveform(np.concatenate(parts), RATE, "clip")
    return drop_silences(clip, silence_db=silence_db, silence_s=silence_s).samples


def test_long_silences_are_dropped_wherever_they_are():
    loud, other, silence = sound(1.0), sound(0.7, seed=1), np.zeros(2 * RATE, np.float32)
    assert np.array_equal(kept(silence, loud, silence, other, silence), np.concatenate([loud, other]))


def test_a_silence_of_just_the_length_stays():
    parts = [sound(0.5), np.zeros(RATE, np.float32), sound(0.5, seed=1)]
    assert np.array_equal(kept(*parts), np.concatenate(parts))
    assert len(kept(*parts, silence_s=0.99)) == RATE


def test_silence_is_told_by_the_loudest_frame():
    loud, faint = sound(0.5), sound(2.0, level=0.1 * 10 ** (-50 / 20))
    assert np.array_equal(kept(loud, faint), loud)
    assert len(kept(loud, faint, silence_db=60.0)) == len(loud) + len(faint)
    # The same sound recorded at a thousandth of the level.
    assert np.array_equal(kept(loud / 1000, faint / 1000), loud / 1000)


@pytest.mark.parametrize("n", [1, 319, 321, 50000])
def test_a_clip_without_any_sound_keeps_its_samples(n):
    assert np.array_equal(kept(np.zeros(n, np.float32)), np.zeros(n, np.float32))


def test_the_last_frame_may_be_short():
    loud, rest = sound(0.5), np.zeros(RATE + 7, np.float32)
    assert np.array_equal(kept(loud, rest), loud)
    tail = sound(7 / RATE, seed=2)
    assert np.array_equal(kept(loud, np.zeros(2 * RATE, np.float32), tail), np.concatenate([loud, tail]))
