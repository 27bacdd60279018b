"""What the model hears of a row: outputs of a frozen tower from a cache, or log-mel frames made as they are needed.

Source: own.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..engine.models.config import read_json, tower_config
from ..engine.models.frontend import whisper_frontend
from ..errors import AudioError
from ..kernels.logmel import logmel
from .data import Row
from .data.sounds import load_sounds
from .features import FeatureCache


class Features(Protocol):
    """Gives rows their features [n, W]."""

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]: ...

    def usable(self, rows: Iterable[Row]) -> tuple[list[Row], list[str]]:
        """The rows that have features, and a line for each that has none."""
        ...


class CachedFeatures:
    """From a folder that `harken.training.features` wrote."""

    def __init__(self, folder: str | Path) -> None:
        self._cache = FeatureCache(folder)
        self._folder = folder

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        return [self._cache[row.id] for row in rows]

    def usable(self, rows: Iterable[Row]) -> tuple[list[Row], list[str]]:
        there, problems = [], []
        for row in rows:
            if row.id in self._cache:
                there.append(row)
            else:
                problems.append(f"{row.id}: not in the cache of features {self._folder}")
        return there, problems


class LiveMels:
    """Log-mel frames of Qwen2.5-Omni's tower, for training the tower itself.

    Args:
        folder: the checkpoint, whose preprocessor_config.json tells the features.
        max_s, min_s: longer sounds are cut, shorter ones padded with zeros.
    """

    def __init__(self, folder: str | Path, *, max_s: float = 30.0, min_s: float = 0.0) -> None:
        folder = Path(folder)
        config = read_json(folder / "config.json")
        audio = config.get("thinker_config", config).get("audio_config", {})
        self._spec, self._max_samples = whisper_frontend(
            read_json(folder / "preprocessor_config.json"), tower_config(audio).num_mels, str(folder)
        )
        self._max_s, self._min_samples = max_s, round(min_s * self._spec.sample_rate_hz)

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        return [self._frames(row, got) for row, got in load_sounds(rows, self._spec.sample_rate_hz, max_s=self._max_s)]

    def usable(self, rows: Iterable[Row]) -> tuple[list[Row], list[str]]:
        """Rows with a sound; whether it can be decoded shows when it is read, and is an error then."""
        there, problems = [], []
        for row in rows:
            if row.audio is None:
                problems.append(f"{row.id}: has no sound")
            else:
                there.append(row)
        return there, problems

    def _frames(self, row: Row, got: object) -> np.ndarray:
        if isinstance(got, AudioError):
            raise got
        samples = got.samples  # type: ignore[attr-defined]
        if len(samples) < self._min_samples:
            samples = np.pad(samples, (0, self._min_samples - len(samples)))
        mel = logmel(torch.from_numpy(samples), (0, len(samples)), self._spec, max_samples=self._max_samples)
        if mel.num_frames[0] < 3:
            raise AudioError(f"{row.id}: {len(samples)} samples are too short for one audio token")
        return mel.features_FM[: mel.num_frames[0]].numpy()
