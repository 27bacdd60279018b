"""load_audio and resample: soxr HQ itself, lengths as the recipe says, and windows that lose no sample."""

import numpy as np
import pytest
import soundfile
import soxr

from harken.engine.audio import Waveform, load_audio, resample, source_name, split_windows
from harken.errors import AudioError, InputError

from ...tolerances import RESAMPLED_CUT_ATOL
from .sounds import encoded, noise


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("target", [16000, 48000])
def test_equals_soundfile_then_soxr(tmp_path, rate, target):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(noise(1.3, rate, 2), rate))
    samples, _ = soundfile.read(path, dtype="float32")
    want = samples.mean(axis=1)
    if rate != target:
        want = soxr.resample(want, rate, target, quality="HQ")
    got = load_audio(path, target)
    assert got.sample_rate_hz == target and got.samples.dtype == np.float32 and got.name == str(path)
    np.testing.assert_array_equal(got.samples, want)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_truncate_is_the_head_of_the_whole_sound(rate):
    source = (noise(3.0, rate)[:, 0], rate)
    whole = load_audio(source)
    cut = load_audio(source, max_s=1.5, long_audio="truncate")
    assert len(cut.samples) == 24000
    np.testing.assert_allclose(cut.samples, whole.samples[:24000], rtol=0, atol=RESAMPLED_CUT_ATOL)


def test_error_refuses_the_longer_and_takes_the_exact():
    exact = (np.zeros(16000, np.float32), 16000)
    assert len(load_audio(exact, max_s=1.0, long_audio="error").samples) == 16000
    with pytest.raises(AudioError, match=r"long one: lasts longer than the 1 s allowed"):
        load_audio((np.zeros(16001, np.float32), 16000), max_s=1.0, name="long one")


def test_window_mean_loads_the_whole():
    assert len(load_audio((np.zeros(50000, np.float32), 16000), max_s=1.0, long_audio="window-mean").samples) == 50000


def test_short_sounds_are_padded_with_silence_only_to_min_s():
    got = load_audio((np.full(100, 0.5, np.float32), 16000), min_s=0.1).samples
    assert len(got) == 1600 and (got[:100] == 0.5).all() and not got[100:].any()
    assert len(load_audio((np.zeros(2000, np.float32), 16000), min_s=0.1).samples) == 2000


def test_less_than_one_sample_is_refused():
    with pytest.raises(AudioError, match="less than one sample"):
        load_audio((np.ones(1, np.float32), 768000), 16000)


def test_unknown_policy_and_rate_are_refused():
    with pytest.raises(InputError, match="'cut'"):
        load_audio((np.zeros(10), 16000), long_audio="cut")
    with pytest.raises(AudioError, match="sample rate is 3 Hz"):
        resample(Waveform(np.zeros(10, np.float32), 16000, "x"), 3)


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 2000, 3501])
def test_windows_hold_every_sample_once(n):
    waveform = Waveform(np.arange(n, dtype=np.float32), 1000, "x")
    windows = split_windows(waveform, 1.0)
    np.testing.assert_array_equal(np.concatenate([w.samples for w in windows]), waveform.samples)
    assert all(len(w.samples) == 1000 for w in windows[:-1]) and len(windows) == -(-n // 1000)


def test_sources_are_called_by_their_path(tmp_path):
    assert source_name(tmp_path / "a.wav", "row 1") == str(tmp_path / "a.wav")
    assert source_name({"bytes": b"", "path": "b.wav"}, "row 1") == "b.wav"
    assert source_name(b"...", "row 1") == "row 1"
