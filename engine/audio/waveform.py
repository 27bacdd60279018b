"""A sound as the engine knows it: mono float32 samples, their rate, and the name that errors call it by.

Source: own.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import AudioError

# Outside these bounds a rate is a broken header, not a recording.
MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 768_000


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One mono sound.

    Args:    samples: [n] float32, full scale is 1.0.   sample_rate_hz: samples a second.   name: file or label, for errors.
    Raises:  AudioError: no samples, a NaN or an infinity, another shape or dtype, a rate no recorder has.
    """

    samples: np.ndarray
    sample_rate_hz: int
    name: str

    def __post_init__(self) -> None:
        check_rate(self.sample_rate_hz, self.name)
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise AudioError(
                f"{self.name}: wanted samples [n] float32, got {list(self.samples.shape)} {self.samples.dtype}"
            )
        if not len(self.samples):
            raise AudioError(f"{self.name}: holds no samples; wanted at least one")
        finite = np.isfinite(self.samples)
        if not finite.all():
            first = int(np.argmin(finite))
            raise AudioError(
                f"{self.name}: {int((~finite).sum())} of {len(finite)} samples are not finite, the first is sample "
                f"{first} ({self.samples[first]}); wanted real numbers only"
            )

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


def check_rate(sample_rate_hz: int, name: str) -> None:
    """Refuse a rate outside 1 kHz to 768 kHz.

    Raises:  AudioError: names the sound and the rate.
    """
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise AudioError(f"{name}: sample rate is {sample_rate_hz} Hz; wanted {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
