"""What a log-mel front end is: its numbers as data, and the window and filter bank they define.

    slaney mel: f * 3/200 below 1 kHz, 15 + 27 ln(f/1000)/ln 6.4 above      htk mel: 2595 log10(1 + f/700)
    filter[k, m] = max(0, min(rising, falling) edge of triangle m at bin k); slaney norm: * 2 / (width of the triangle in Hz)

Source: Whisper's and CLAP's feature extractors in transformers; Dasheng's torchaudio front end.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class LogMelSpec:
    """One front end. logmel = (max(log_gain * log10(max(mel, floor)), clip maximum - max_range) + shift) / divisor."""

    name: str
    sample_rate_hz: int
    n_fft: int
    # The periodic Hann window, centred in n_fft samples.
    win_length: int
    # Samples from one frame to the next.
    hop_length: int
    num_mels: int
    f_min_hz: float
    f_max_hz: float
    # "slaney" or "htk".
    mel_scale: str
    # "slaney" (every triangle has the same area) or None (the same height).
    mel_norm: str | None
    # "zeros": ceil(n / hop) frames, silence follows the clip. "reflect": 1 + n // hop frames, the clip is mirrored.
    right_edge: str
    # Smallest mel power that is told from silence.
    floor: float
    # 1 for log10, 10 for decibels.
    log_gain: float
    # How far below the clip's maximum a value may lie, in units after log_gain; None: no bound.
    max_range: float | None
    shift: float = 0.0
    divisor: float = 1.0
    # Samples past this are cut off, unless the call says otherwise; None: none are.
    max_duration_s: float | None = None

    def __post_init__(self) -> None:
        wrong = {
            "mel_scale": self.mel_scale not in ("slaney", "htk"),
            "mel_norm": self.mel_norm not in ("slaney", None),
            "right_edge": self.right_edge not in ("zeros", "reflect"),
            "win_length": not 0 < self.win_length <= self.n_fft,
            "hop_length": not 0 < self.hop_length <= self.n_fft,
            "f_max_hz": not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2,
        }
        for field, is_wrong in wrong.items():
            if is_wrong:
                raise InputError(f"LogMelSpec {self.name!r}: {field} cannot be {getattr(self, field)!r}")

    @property
    def num_bins(self) -> int:
        return self.n_fft // 2 + 1


_WHISPER = LogMelSpec(
    name="whisper-128", sample_rate_hz=16000, n_fft=400, win_length=400, hop_length=160, num_mels=128, f_min_hz=0.0,
    f_max_hz=8000.0, mel_scale="slaney", mel_norm="slaney", right_edge="zeros", floor=1e-10, log_gain=1.0, max_range=8.0,
    shift=4.0, divisor=4.0,
)  # fmt: skip
_DASHENG = LogMelSpec(
    name="dasheng-64", sample_rate_hz=16000, n_fft=512, win_length=512, hop_length=160, num_mels=64, f_min_hz=0.0,
    f_max_hz=8000.0, mel_scale="htk", mel_norm=None, right_edge="reflect", floor=1e-10, log_gain=10.0, max_range=120.0,
)  # fmt: skip
_HTSAT = LogMelSpec(
    name="htsat-64", sample_rate_hz=48000, n_fft=1024, win_length=1024, hop_length=480, num_mels=64, f_min_hz=50.0,
    f_max_hz=14000.0, mel_scale="slaney", mel_norm="slaney", right_edge="reflect", floor=1e-10, log_gain=10.0,
    max_range=None,
)  # fmt: skip
SPECS = {s.name: s for s in (_WHISPER, replace(_WHISPER, name="whisper-80", num_mels=80), _DASHENG, _HTSAT)}


@lru_cache(maxsize=32)
def hann_window(spec: LogMelSpec) -> np.ndarray:
    """float64 [n_fft]: the periodic Hann window with zeros on either side of win_length."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.win_length) / spec.win_length)
    left = (spec.n_fft - spec.win_length) // 2
    return np.pad(window, (left, spec.n_fft - spec.win_length - left))


@lru_cache(maxsize=32)
def mel_filters(spec: LogMelSpec) -> np.ndarray:
    """float64 [num_bins, num_mels]: the weight of every power bin in every mel bin."""
    low_mel, high_mel = _to_mel(np.array([spec.f_min_hz, spec.f_max_hz]), spec.mel_scale)
    corners = _to_hz(np.linspace(low_mel, high_mel, spec.num_mels + 2), spec.mel_scale)
    bins = np.linspace(0, spec.sample_rate_hz / 2, spec.num_bins)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    filters = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    return filters * (2.0 / (high - low)) if spec.mel_norm == "slaney" else filters


def _to_mel(hz: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    return np.where(hz < 1000.0, hz * 3 / 200, 15.0 + 27.0 / np.log(6.4) * np.log(np.maximum(hz, 1000.0) / 1000.0))


def _to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp(np.log(6.4) / 27.0 * (np.maximum(mel, 15.0) - 15.0)))
