"""Noise from a folder, mixed in at a signal-to-noise ratio.

    y = x + g n,   g = sqrt(P_x / (P_n 10^(SNR/10))),   P the mean square over the whole clip

A larger SNR is a cleaner clip. The noise file and the place in it are drawn for every clip from the seed and the clip's
name alone, so they are the same at every SNR and in every order. Noise shorter than the clip is repeated. The sum is not
clipped. Robust-ATR's own tables get worse as the number rises, so its numbers cannot be decibels of SNR; they are not
comparable.

Source: own; the ratio as in spec/recipes.md F.1.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...engine.audio import Waveform, decode, resample
from ...engine.cli.app import SUFFIXES
from ...errors import AudioError, InputError

SNRS_DB = (5.0, 10.0, 15.0)


class Noise:
    """A folder of noise at one SNR.

    Args:
        folder: with sound files, also in subfolders.
        snr_db: power of the clip over power of the noise, in decibels.
        seed: of the draws.

    Raises:
        InputError: the folder holds no sound.
    """

    def __init__(self, folder: Path, snr_db: float, *, seed: int = 0) -> None:
        self.files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not self.files:
            raise InputError(f"{folder}: holds no sound file; wanted a folder of noise")
        self.folder, self.snr_db, self.seed = folder, snr_db, seed

    @property
    def key(self) -> str:
        listing = hashlib.sha256("\n".join(f"{p.name} {p.stat().st_size}" for p in self.files).encode()).hexdigest()
        return f"noise {listing[:16]} {self.snr_db:g} dB seed {self.seed}"

    def mixed(self, clip: Waveform, name: str) -> Waveform:
        """The clip with noise; `name` is what the draw depends on. A clip of digital silence stays as it is.

        Raises:
            AudioError: the noise drawn for the clip is silent.
        """
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        path = self.files[int(rng.integers(len(self.files)))]
        noise = resample(_decoded(path), clip.sample_rate_hz).samples
        size = len(clip.samples)
        place = int(rng.integers(max(len(noise) - size, 0) + 1))
        noise = np.resize(noise[place:], size) if len(noise) - place < size else noise[place : place + size]
        power, noise_power = (float(np.mean(x.astype(np.float64) ** 2)) for x in (clip.samples, noise))
        if not noise_power:
            raise AudioError(f"{name}: the noise drawn for it, {path}, is silent there")
        gain = np.sqrt(power / (noise_power * 10 ** (self.snr_db / 10)))
        return Waveform((clip.samples + gain * noise).astype(np.float32), clip.sample_rate_hz, clip.name)


@lru_cache(maxsize=64)
def _decoded(path: Path) -> Waveform:
    return decode(path)
