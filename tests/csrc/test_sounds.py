"""WAV and FLAC as soundfile reads them; resampling beside a known signal and soxr; damaged files are errors."""

import io
import struct

import numpy as np
import pytest
import soundfile
import soxr

from harken import csrc
from harken.errors import AudioError, FileFormatError, InputError
from harken.kernels import cpp

from ..tolerances import RESAMPLED_KNOWN, RESAMPLED_SOXR

if cpp.missing():
    pytest.skip(f"the C++ core cannot run here: {cpp.missing()}", allow_module_level=True)


def encoded(frames: np.ndarray, rate: int, kind: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, frames, rate, format=kind, subtype=subtype)
    return out.getvalue()


def noise(num_frames: int, num_channels: int) -> np.ndarray:
    return np.random.default_rng(num_frames).uniform(-0.99, 0.99, (num_frames, num_channels))


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")]
    + [("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16")]
    + [("FLAC", s) for s in ("PCM_S8", "PCM_16", "PCM_24")],
)
def test_samples_equal_soundfile(kind, subtype, channels):
    file = encoded(noise(70_001, channels), 22_050, kind, subtype)
    want, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    got, got_rate = csrc.core().decode_sound(file)
    assert got_rate == rate and got.dtype == np.float32
    np.testing.assert_allclose(got, want.mean(axis=1), rtol=0, atol=2e-7)
    if channels == 1:
        assert np.array_equal(got, want[:, 0])


def test_reads_a_path(tmp_path):
    (tmp_path / "\u00e4 b.wav").write_bytes(encoded(noise(100, 1), 16_000, "WAV", "PCM_16"))
    samples, rate = csrc.core().read_sound(str(tmp_path / "\u00e4 b.wav"))
    assert len(samples) == 100 and rate == 16_000
    with pytest.raises(FileFormatError, match="missing.wav: cannot be opened"):
        csrc.core().read_sound(str(tmp_path / "missing.wav"))
    with pytest.raises(FileFormatError, match="is a folder"):
        csrc.core().read_sound(str(tmp_path))


@pytest.mark.parametrize("kind", ["WAV", "W64", "RF64", "AIFF", "FLAC"])
def test_a_cut_file_is_an_error(kind):
    file = encoded(noise(20_000, 2), 44_100, kind, "PCM_16")
    for keep in (0, 1, 3, 11, 30, 43, 44, 60, 1000, len(file) // 2, len(file) - 1):
        with pytest.raises(AudioError, match="x.snd: "):
            csrc.core().decode_sound(file[:keep], "x.snd")


def test_a_stream_without_a_size_is_read_to_its_end():
    file = bytearray(encoded(noise(500, 1), 16_000, "WAV", "PCM_16"))
    for size in (0xFFFFFFFF, 0x7FFFF000 + 36):
        struct.pack_into("<I", file, 40, size)
        assert len(csrc.core().decode_sound(bytes(file))[0]) == 500


def test_headers_that_cannot_be():
    file = encoded(noise(500, 1), 16_000, "WAV", "FLOAT")
    at = file.index(b"fmt ") + 8
    for place, code, value, text in [
        (at + 2, "<H", 0, "."),
        (at + 2, "<H", 300, "."),
        (at + 4, "<I", 12, "sample rate is 12 Hz"),
        (at + 12, "<H", 3, "."),
        (at + 14, "<H", 999, "."),
    ]:
        broken = bytearray(file)
        struct.pack_into(code, broken, place, value)
        with pytest.raises(AudioError, match=text):
            csrc.core().decode_sound(bytes(broken))
    broken = bytearray(file)
    struct.pack_into("<f", broken, len(file) - 8, float("nan"))
    with pytest.raises(AudioError, match="sample 498 is not finite"):
        csrc.core().decode_sound(bytes(broken))
    with pytest.raises(AudioError, match="neither WAV nor FLAC"):
        csrc.core().decode_sound(b"ID3 and so on")


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (16_000, 48_000), (44_099, 16_000)]
)
def test_tones_keep_their_place_and_size(from_hz, to_hz):
    """Up to 91.3 % of the lower Nyquist frequency nothing changes; from 100 % on nothing is left."""
    rng, half = np.random.default_rng(0), min(from_hz, to_hz) / 2
    hz, phase = rng.uniform(0.001, 0.913, 20) * half, rng.uniform(0, 6, 20)
    signal = lambda t: np.sin(2 * np.pi * hz * t[:, None] + phase).sum(1) / 20
    x = signal(np.arange(from_hz // 2) / from_hz).astype(np.float32)
    got, beside = csrc.core().resample(x, from_hz, to_hz), soxr.resample(x, from_hz, to_hz, quality="HQ")
    assert len(got) == len(beside)
    middle = slice(to_hz // 10, -to_hz // 10)
    assert np.abs(got - signal(np.arange(len(got)) / to_hz))[middle].max() < RESAMPLED_KNOWN
    assert np.abs(got - beside)[middle].max() < RESAMPLED_SOXR
    if from_hz > to_hz:
        above = np.sin(2 * np.pi * 1.001 * half * np.arange(from_hz // 2) / from_hz).astype(np.float32)
        assert np.abs(csrc.core().resample(above, from_hz, to_hz)[middle]).max() < 1e-5


@pytest.mark.parametrize("num", [0, 1, 2, 3, 100, 441, 442, 1001])
def test_lengths_are_those_of_soxr(num):
    for from_hz, to_hz in [(44_100, 16_000), (48_000, 16_000), (22_050, 48_000), (16_000, 16_000)]:
        got = csrc.core().resample(np.ones(num, np.float32), from_hz, to_hz)
        want = soxr.resample(np.ones(num, np.float32), from_hz, to_hz, quality="HQ") if num else []
        assert len(got) == len(want)


def test_absurd_rates_are_refused():
    for rate in (0, -16_000, 999, 768_001):
        with pytest.raises(InputError, match=f"sample rate is {rate} Hz"):
            csrc.core().resample(np.ones(10, np.float32), rate, 16_000)
