"""A sound ready for a model's front end: mono, at its rate, of an allowed length.

    error            longer than max_s is refused
    truncate         the first max_s are taken
    window-mean      the whole is loaded; `split_windows` cuts it into pieces that are embedded apart and averaged,
    chunk-attention  or weighed by a learned query

Source: own.
"""

import os
from typing import Any, get_args

import numpy as np

from ...errors import AudioError, InputError
from ..recipes.recipe import LongAudio
from .decode import decode
from .resample import resample
from .waveform import Waveform

# Read past the cut, so that the resampler sees what follows it and the cut sound equals the head of the whole one.
MARGIN_S = 0.25


def load_audio(
    source: Any,
    sample_rate_hz: int = 16000,
    *,
    min_s: float = 0.0,
    max_s: float | None = None,
    long_audio: LongAudio = "error",
    name: str | None = None,
) -> Waveform:
    """Decode, resample and bring to length.

    Args:    source: as `decode` takes it.   sample_rate_hz: the rate of the result.
             min_s: shorter sounds are zero-padded to it.   max_s: longest allowed; None: any.
             long_audio: what happens past max_s.   name: what errors call the sound.
    Returns: the waveform at sample_rate_hz.
    Raises:  AudioError: names the sound and what is wrong with it.   InputError: unknown long_audio.
    """
    if long_audio not in get_args(LongAudio):
        raise InputError(f"long_audio is {long_audio!r}; wanted one of {get_args(LongAudio)}")
    limit_s = read_limit_s(max_s, long_audio)
    decoded = decode(source, name, max_s=limit_s)
    if max_s is not None and long_audio == "error" and len(decoded.samples) > round(max_s * decoded.sample_rate_hz):
        raise AudioError(f"{decoded.name}: lasts longer than the {max_s:g} s allowed; wanted a shorter sound")
    waveform = resample(decoded, sample_rate_hz)
    samples = waveform.samples
    if limit_s is not None and max_s is not None:
        samples = samples[: max(1, round(max_s * sample_rate_hz))]
    num_min = round(min_s * sample_rate_hz)
    if len(samples) < num_min:
        samples = np.concatenate([samples, np.zeros(num_min - len(samples), np.float32)])
    return waveform if samples is waveform.samples else Waveform(samples, sample_rate_hz, waveform.name)


def read_limit_s(max_s: float | None, long_audio: LongAudio) -> float | None:
    """Seconds of a sound that `load_audio` reads at most; None: all of it counts."""
    return None if max_s is None or long_audio in ("window-mean", "chunk-attention") else max_s + MARGIN_S


def split_windows(waveform: Waveform, window_s: float) -> list[Waveform]:
    """Cut into consecutive windows of window_s; the last one holds what is left.

    Args:    waveform: any length.   window_s: seconds a window, positive.
    Returns: at least one window; together they hold every sample once.
    """
    size = max(1, round(window_s * waveform.sample_rate_hz))
    if len(waveform.samples) <= size:
        return [waveform]
    starts = range(0, len(waveform.samples), size)
    rate = waveform.sample_rate_hz
    return [Waveform(waveform.samples[s : s + size], rate, f"{waveform.name} from {s / rate:g} s") for s in starts]


def source_name(source: Any, default: str) -> str:
    """What to call a source in a table of results: its path where it has one, else the default."""
    if isinstance(source, Waveform):
        return source.name
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, dict) and source.get("path"):
        return str(source["path"])
    return default
