"""Sounds and broken sounds for the tests, made in memory from fixed seeds."""

import io
import struct

import numpy as np
import soundfile

FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def noise(seconds: float = 1.0, rate: int = 48000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """[n, channels] float32 within +-0.5: a tone in noise, another phase a channel."""
    n = round(seconds * rate)
    rng = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * 440 * np.arange(n)[:, None] / rate + np.arange(channels))
    return (0.3 * tone + 0.2 * rng.uniform(-1, 1, (n, channels))).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 48000, format: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def wav_header(rate: int = 16000, channels: int = 1, data: bytes = b"", declared: int | None = None) -> bytes:
    """A 16-bit WAV whose header says what it is told to say."""
    size = len(data) if declared is None else declared
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + size, 2**32 - 1))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", size) + data)
    )
