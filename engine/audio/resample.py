"""Change of sample rate by soxr at its HQ setting.

Source: libsoxr (SoX resampler library), recipe HQ.
"""

import numpy as np
import soxr

from ...errors import AudioError
from .waveform import Waveform, check_rate


def resample(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """Bring a waveform to another rate; one that has it already is returned as it is.

    Args:    waveform: any rate.   sample_rate_hz: the wanted rate.
    Raises:  AudioError: an absurd rate, or a sound shorter than one sample at the wanted rate.
    """
    if waveform.sample_rate_hz == sample_rate_hz:
        return waveform
    check_rate(sample_rate_hz, waveform.name)
    samples = soxr.resample(waveform.samples, waveform.sample_rate_hz, sample_rate_hz, quality="HQ")
    if not len(samples):
        raise AudioError(
            f"{waveform.name}: {len(waveform.samples)} samples at {waveform.sample_rate_hz} Hz are less than one sample "
            f"at {sample_rate_hz} Hz; wanted a longer sound"
        )
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), sample_rate_hz, waveform.name)
