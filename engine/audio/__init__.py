"""Sounds in: files, bytes and arrays to mono float32 samples at the rate a model wants."""

from .decode import SoundInfo, decode, probe
from .load import load_audio, read_limit_s, source_name, split_windows
from .part import decode_part
from .resample import resample
from .waveform import Waveform

__all__ = [
    "SoundInfo",
    "Waveform",
    "decode",
    "decode_part",
    "load_audio",
    "probe",
    "read_limit_s",
    "resample",
    "source_name",
    "split_windows",
]
