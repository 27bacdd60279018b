"""Arrays of samples, as callers hold them, to mono float32.

    integer PCM -> [-1, 1):   int16 / 2^15,  int32 / 2^31,  int8 / 2^7,  uint8 (x - 128) / 2^7
    channels    -> their mean

Source: own; the scales are those of PCM in WAV files.
"""

from typing import Any

import numpy as np

from ...errors import AudioError
from .waveform import Waveform

# A dimension up to this long can be channels; one that is longer must be time.
MAX_CHANNELS = 32
PCM_SCALE = {"int8": 2.0**7, "uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


def from_array(array: Any, sample_rate_hz: Any, name: str) -> Waveform:
    """Turn an array of samples into a waveform.

    Args:    array: [n], [n, channels] or [channels, n], float or PCM integer; anything numpy can read.
             sample_rate_hz: samples a second, a whole number.   name: what errors call it.
    Returns: the mono waveform; float samples keep their values.
    Raises:  AudioError: no rate, another dtype, a shape in which time cannot be told from channels, no or NaN samples.
    """
    if sample_rate_hz is None:
        raise AudioError(
            f"{name}: an array has no sample rate of its own; wanted (array, rate) or an array dict with one"
        )
    rate = _whole(sample_rate_hz, name)
    try:
        samples = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"{name}: {type(array).__name__} cannot be read as an array of samples: {error}") from None
    scale = PCM_SCALE.get(samples.dtype.name)
    if scale is None and samples.dtype.kind != "f":
        raise AudioError(
            f"{name}: samples are {samples.dtype}; wanted floats or PCM integers of {', '.join(sorted(PCM_SCALE))}"
        )
    if scale is not None:
        offset = 128.0 if samples.dtype == np.uint8 else 0.0
        samples = (samples.astype(np.float64) - offset) / scale
    mono = mix_down(_time_first(samples, name))
    with np.errstate(over="ignore"):
        return Waveform(np.ascontiguousarray(mono, dtype=np.float32), rate, name)


def mix_down(samples: np.ndarray) -> np.ndarray:
    """[n, channels] to [n] by the mean over channels; one channel keeps its very bits."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def _whole(rate: Any, name: str) -> int:
    try:
        whole = int(rate)
        if whole == rate:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    shown = repr(rate) if np.ndim(rate) == 0 else f"an array of shape {list(np.shape(rate))}"
    raise AudioError(f"{name}: sample rate is {shown}; wanted a whole number of Hz")


def _time_first(samples: np.ndarray, name: str) -> np.ndarray:
    """[n], [n, channels] or [channels, n] to [n, channels]."""
    if samples.ndim == 1:
        return samples[:, None]
    if samples.ndim == 2 and not samples.size:
        return samples.reshape(0, 1)
    if samples.ndim == 2:
        rows, columns = samples.shape
        if columns == 1 or rows > MAX_CHANNELS >= columns > 0:
            return samples
        if rows == 1 or columns > MAX_CHANNELS >= rows > 0:
            return samples.T
    raise AudioError(
        f"{name}: in an array of shape {list(samples.shape)} time cannot be told from channels; wanted [n], or "
        f"[n, channels] or [channels, n] with n over {MAX_CHANNELS} and at most {MAX_CHANNELS} channels"
    )
