"""decode: what can be read equals soundfile's reading; what cannot is refused by name, quickly, and never half read."""

import io
import os
import sys
import threading
import types

import numpy as np
import pytest
import soundfile

from harken.engine.audio import Waveform, decode, probe
from harken.errors import AudioError

from .sounds import FORMATS, encoded, noise, wav_header


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_equals_soundfile_at_the_files_own_rate(tmp_path, format, subtype, channels, rate):
    if subtype == "OPUS" and rate == 44100:
        rate = 24000
    content = encoded(noise(0.5, rate, channels), rate, format, subtype)
    path = tmp_path / "sound.bin"
    path.write_bytes(content)
    want, want_rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    for source in (
        path,
        str(path),
        content,
        bytearray(content),
        {"bytes": content, "path": "x.wav"},
        {"path": str(path)},
    ):
        got = decode(source)
        assert got.sample_rate_hz == want_rate == rate
        assert got.samples.dtype == np.float32 and got.samples.flags.c_contiguous
        np.testing.assert_array_equal(got.samples, want.mean(axis=1))


def test_blocks_join_without_a_seam():
    samples = noise(20.0, 48000, 2)
    want, _ = soundfile.read(io.BytesIO(encoded(samples, format="FLAC")), dtype="float32")
    np.testing.assert_array_equal(decode(encoded(samples, format="FLAC")).samples, want.mean(axis=1))


def test_max_s_is_the_head_of_the_whole():
    content = encoded(noise(2.0), format="FLAC")
    whole = decode(content)
    np.testing.assert_array_equal(decode(content, max_s=0.7).samples, whole.samples[:33600])
    np.testing.assert_array_equal(decode(whole, max_s=0.7).samples, whole.samples[:33600])
    assert len(decode(content, max_s=60.0).samples) == len(whole.samples)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_integer_arrays_are_scaled_to_full_scale(dtype):
    info = np.iinfo(dtype)
    low, middle = (0, 128) if dtype == "uint8" else (info.min, 0)
    got = decode((np.array([low, middle, info.max], dtype), 16000)).samples
    assert got[0] == -1.0 and got[1] == 0.0 and 0.99 < got[2] <= 1.0
    if dtype == "int16":
        pcm = (noise(0.1, 16000)[:, 0] * 32767).astype(np.int16)
        np.testing.assert_array_equal(decode((pcm, 16000)).samples, decode(encoded(pcm, 16000)).samples)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", ["n", "n,1", "1,n", "n,2", "2,n"])
def test_float_arrays_of_every_layout(dtype, shape):
    stereo = noise(0.1, 16000, 2).astype(dtype)
    mono = stereo[:, :1]
    array = {"n": mono[:, 0], "n,1": mono, "1,n": mono.T, "n,2": stereo, "2,n": stereo.T}[shape]
    want = (stereo if "2" in shape else mono).mean(axis=1).astype(np.float32)
    for source in (
        (array, 16000),
        {"array": array, "sampling_rate": 16000},
        {"array": array.tolist(), "sampling_rate": 16000},
    ):
        np.testing.assert_allclose(decode(source).samples, want, rtol=0, atol=1e-3 if dtype is np.float16 else 1e-6)


def test_torch_tensors_and_decoders_are_arrays_too():
    import torch

    tensor = torch.from_numpy(noise(0.1, 16000, 2).T.copy())
    samples = types.SimpleNamespace(data=tensor, sample_rate=16000)
    decoder = types.SimpleNamespace(get_all_samples=lambda: samples)
    want = tensor.mean(dim=0).numpy()
    np.testing.assert_allclose(decode((tensor, 16000)).samples, want, atol=1e-7)
    np.testing.assert_allclose(decode(decoder).samples, want, atol=1e-7)


def test_silence_is_a_sound():
    assert not decode(encoded(np.zeros(1000, np.float32))).samples.any()
    assert not decode((np.zeros(1000, np.int16), 8000)).samples.any()


CONTENT = encoded(noise(1.0, 16000), 16000)
BAD_BYTES = {
    "empty": (b"", "0 bytes"),
    "text": (b"once upon a time there was no sound\n" * 40, "not a sound file"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(2000), "not a sound file"),
    "zeros": (bytes(5000), "not a sound file"),
    "wav of no samples": (wav_header(), "no samples"),
    "wav of 0 Hz": (wav_header(rate=0, data=bytes(200)), "not a sound file"),
    "wav of 1 Hz": (wav_header(rate=1, data=bytes(200)), "sample rate is 1 Hz"),
    "wav of 1 GHz": (wav_header(rate=10**9, data=bytes(200)), "sample rate is 1000000000 Hz"),
    "wav of no channels": (wav_header(channels=0, data=bytes(200)), "not a sound file"),
    "wav cut in half": (CONTENT[: len(CONTENT) // 2], "truncated"),
    "wav cut by one byte": (CONTENT[:-1], "truncated"),
    "wav cut in its header": (CONTENT[:20], "not a sound file"),
    "wav declaring 2 GB": (wav_header(data=bytes(200), declared=2 * 10**9), "truncated"),
    "wav of NaN": (encoded(np.full(100, np.nan, np.float32), subtype="FLOAT"), "not finite"),
    "wav of one infinity": (encoded(np.r_[noise(0.1)[:, 0], np.inf].astype(np.float32), subtype="FLOAT"), "not finite"),
}
for _format, _subtype in FORMATS[2:]:
    _content = encoded(noise(2.0), 48000, _format, _subtype)
    BAD_BYTES[f"{_format} {_subtype} cut in half"] = (_content[: len(_content) // 2], "malformed|damaged|truncated")


@pytest.mark.parametrize("kind", BAD_BYTES)
def test_bad_content_is_refused_by_name_from_a_file_and_from_bytes(tmp_path, kind):
    content, reason = BAD_BYTES[kind]
    path = tmp_path / "my sound.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"my sound\.wav: .*({reason})"):
        decode(path)
    with pytest.raises(AudioError, match=rf"row 7: .*({reason})"):
        decode(content, "row 7")


def test_streamed_wav_with_an_open_size_is_whole():
    pcm = (noise(0.5, 16000)[:, 0] * 32767).astype("<i2").tobytes()
    want = decode(wav_header(data=pcm)).samples
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        np.testing.assert_array_equal(decode(wav_header(data=pcm, declared=size)).samples, want)


def test_ogg_is_refused_wherever_it_is_cut():
    """Only a cut exactly between two pages, which no reader could notice, may pass."""
    content = encoded(noise(3.0), 48000, "OGG", "VORBIS")
    pages = {i for i in range(len(content)) if content[i : i + 4] == b"OggS"}
    for end in range(1, len(content), 97):
        if end not in pages:
            with pytest.raises(AudioError):
                decode(content[:end])
    decode(content + b"trailing bytes")


def test_rf64_is_read_whole_and_refused_when_cut():
    content = encoded(noise(0.5), 48000, "RF64")
    assert len(decode(content).samples) == 24000
    with pytest.raises(AudioError, match="truncated"):
        decode(content[:-100])


def test_wav_with_chunks_around_the_samples_is_whole():
    extra = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"
    header, data = CONTENT[:36], CONTENT[36:]
    np.testing.assert_array_equal(decode(header + extra + data + extra).samples, decode(CONTENT).samples)


def test_a_flac_that_declares_a_century_is_refused_without_allocating_it():
    content = bytearray(encoded(noise(0.5), format="FLAC"))
    # total samples: the low 36 bits of bytes 18..25 of the file, in STREAMINFO
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    with pytest.raises(AudioError, match="declares 68719476735 samples"):
        decode(bytes(content), "bomb.flac")
    with pytest.raises(AudioError, match=r"bomb\.flac"):
        decode(bytes(content), "bomb.flac", max_s=30.0)


def test_paths_that_are_no_file(tmp_path, monkeypatch):
    with pytest.raises(AudioError, match=r"nothing\.wav: there is no such file"):
        decode(tmp_path / "nothing.wav")
    with pytest.raises(AudioError, match="is a directory"):
        decode(tmp_path)
    with pytest.raises(AudioError, match="cannot be opened"):
        decode("a\0b.wav")
    with pytest.raises(AudioError, match="cannot be opened: File name too long"):
        decode("x" * 5000)
    path = tmp_path / "secret.wav"
    path.write_bytes(CONTENT)
    if os.geteuid() == 0:
        # root may read everything, so the refusal is played
        def refuse(path, flags):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "open", refuse)
    path.chmod(0)
    with pytest.raises(AudioError, match=r"secret\.wav: cannot be opened: Permission denied"):
        decode(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_endless_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    errors = []

    def attempt():
        for path in (tmp_path / "pipe.wav", "/dev/zero"):
            try:
                decode(path)
            except AudioError as error:
                errors.append(str(error))

    worker = threading.Thread(target=attempt, daemon=True)
    worker.start()
    worker.join(20)
    assert len(errors) == 2 and all("is a pipe or a device" in error for error in errors)


def test_a_raw_file_is_no_sound(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"x\.raw: is not a sound file"):
        decode(tmp_path / "x.raw")


BAD_SOURCES = {
    "no rate": (np.zeros(100, np.float32), "no sample rate"),
    "no rate in dict": ({"array": np.zeros(100)}, "no sample rate"),
    "zero rate": ((np.zeros(100), 0), "sample rate is 0 Hz"),
    "broken rate": ((np.zeros(100), 44100.5), "whole number"),
    "word for a rate": ((np.zeros(100), "fast"), "whole number"),
    "nan rate": ((np.zeros(100), float("nan")), "whole number"),
    "swapped pair": ((16000, np.zeros(100)), "whole number"),
    "bool": ((np.zeros(100, bool), 16000), "samples are bool"),
    "int64": ((np.zeros(100, np.int64), 16000), "samples are int64"),
    "complex": ((np.zeros(100, complex), 16000), "samples are complex128"),
    "words": ((np.array(["a", "b"]), 16000), "samples are <U1"),
    "ragged": (([[1.0], [1.0, 2.0]], 16000), "cannot be read as an array"),
    "three axes": ((np.zeros((2, 100, 3)), 16000), r"\[2, 100, 3\]"),
    "square": ((np.zeros((100, 100)), 16000), "told from channels"),
    "small both ways": ((np.zeros((8, 2)), 16000), "told from channels"),
    "scalar": ((np.float32(1), 16000), "told from channels"),
    "empty": ((np.zeros(0, np.float32), 16000), "no samples"),
    "empty stereo": ((np.zeros((0, 2), np.float32), 16000), "no samples"),
    "nan": ((np.array([0, np.nan], np.float32), 16000), "sample 1 .nan."),
    "minus infinity": ((np.array([-np.inf, 0]), 16000), "sample 0 .-inf."),
    "too large for float32": ((np.array([1e300]), 16000), "not finite"),
    "none": (None, "NoneType is no sound"),
    "number": (3.5, "float is no sound"),
    "list": ([0.0, 0.1], "list is no sound"),
    "empty dict": ({}, "wanted array and sampling_rate"),
    "foreign dict": ({"text": "woof"}, "keys are .'text'."),
}


@pytest.mark.parametrize("kind", BAD_SOURCES)
def test_bad_arrays_and_types_are_refused_by_name(kind):
    source, reason = BAD_SOURCES[kind]
    with pytest.raises(AudioError, match=f"item 3: .*{reason}"):
        decode(source, "item 3")


def test_a_waveform_keeps_its_promises():
    assert Waveform(np.zeros(8000, np.float32), 16000, "x").duration_s == 0.5
    with pytest.raises(AudioError, match="wanted samples"):
        Waveform(np.zeros((2, 4), np.float32), 16000, "x")
    with pytest.raises(AudioError, match="float64"):
        Waveform(np.zeros(4), 16000, "x")


def test_probe_reads_the_header(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(encoded(noise(0.5, 44100, 2), 44100, "FLAC"))
    info = probe(path)
    assert (info.format, info.sample_rate_hz, info.num_channels, info.duration_s) == ("FLAC PCM_16", 44100, 2, 0.5)
    with pytest.raises(AudioError, match="no such file"):
        probe(tmp_path / "b.flac")


def test_what_soundfile_refuses_goes_to_torchcodec(monkeypatch):
    """A stand-in for torchcodec shows the hand-over; its own decoding is not tested here."""
    import torch

    class AudioDecoder:
        def __init__(self, file):
            if file.read(4) == b"junk":
                raise RuntimeError("Could not open input\nmore")

        def get_all_samples(self):
            return types.SimpleNamespace(data=torch.full((2, 800), 0.25), sample_rate=8000)

        def get_samples_played_in_range(self, start, stop):
            return types.SimpleNamespace(data=torch.full((2, int(8000 * stop)), 0.25), sample_rate=8000)

    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", types.SimpleNamespace(AudioDecoder=AudioDecoder))
    got = decode(b"\0\0\0\x1cftypM4A " + bytes(100), "a.m4a")
    assert got.sample_rate_hz == 8000 and len(got.samples) == 800 and (got.samples == 0.25).all()
    assert len(decode(b"\0\0\0\x1cftypM4A " + bytes(100), "a.m4a", max_s=0.01).samples) == 80
    with pytest.raises(AudioError, match=r"b\.m4a: .*torchcodec: Could not open input$"):
        decode(b"junk", "b.m4a")


def test_channels_that_do_not_fit_the_frames_are_refused():
    lying = bytearray(encoded(noise(0.1)))
    lying[22] = 64
    with pytest.raises(AudioError, match="x.wav: header declares 64 channels of 16 bits in frames of 2 bytes"):
        decode(bytes(lying), "x.wav")
    many = noise(0.1, channels=64)
    assert np.abs(decode(encoded(many)).samples - many.mean(1)).max() < 1e-4
