"""A part is what the whole has there, in every container, whether it is entered in the middle or read up to."""

import io

import numpy as np
import pytest
import soundfile

from harken.engine.audio import Waveform, decode, decode_part
from harken.errors import AudioError

KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("FLAC", "PCM_24"),
    ("AIFF", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", None),
]


def encoded(kind: tuple[str, str | None], seconds: float = 1.0, rate: int = 22050) -> bytes:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), 2))
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind[0], subtype=kind[1])
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("start_s", "end_s"), [(None, 0.5), (0.3, 0.8), (0.3001, None), (0.999, 1.0)])
def test_a_part_is_a_slice_of_the_whole(tmp_path, kind, start_s, end_s):
    path = tmp_path / f"x.{kind[0].lower()}"
    path.write_bytes(encoded(kind))
    whole = decode(path).samples
    first = round((start_s or 0.0) * 22050)
    for source in (path, path.read_bytes()):
        part = decode_part(source, start_s=start_s, end_s=end_s).samples
        last = len(whole) if end_s is None else first + round((end_s - (start_s or 0.0)) * 22050)
        assert abs(len(part) - (last - first)) <= 1
        np.testing.assert_array_equal(part, whole[first : first + len(part)])


@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("OGG", "VORBIS")], ids=str)
def test_a_part_that_is_not_there_is_an_error(kind):
    data = encoded(kind)
    with pytest.raises(AudioError, match="x: lasts 1 s; wanted a part that begins at 2 s"):
        decode_part(data, "x", start_s=2.0)
    with pytest.raises(AudioError, match="x: lasts 1 s; wanted a part that ends at 1.5 s"):
        decode_part(data, "x", start_s=0.5, end_s=1.5)
    assert decode_part(data, "x", start_s=0.5, end_s=1.005).duration_s == pytest.approx(0.5, abs=1e-3)
    assert decode_part(data, "x", start_s=0.5, limit_s=0.2).duration_s == pytest.approx(0.2, abs=1e-3)
    assert decode_part(data, "x", start_s=0.5, end_s=9.0, limit_s=0.2).duration_s == pytest.approx(0.2, abs=1e-3)


def test_other_sources_have_parts_too():
    wave = Waveform(np.arange(100, dtype=np.float32) / 100, 1000, "w")
    np.testing.assert_array_equal(decode_part(wave, start_s=0.02, end_s=0.05).samples, wave.samples[20:50])


def test_what_cannot_be_read_is_told_as_always(tmp_path):
    with pytest.raises(AudioError, match="there is no such file"):
        decode_part(tmp_path / "gone.wav", start_s=1.0)
    with pytest.raises(AudioError, match="truncated"):
        decode_part(encoded(("WAV", "PCM_16"))[:2000], start_s=0.5)
    with pytest.raises(AudioError, match="not a sound file"):
        decode_part(b"no sound at all, just words", start_s=0.5)
