"""What the model hears of a row: outputs of a frozen tower from a cache, or log-mel frames made as they are needed.

Source: own.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..engine.audio import Waveform
from ..engine.cli.output import progress_bar
from ..engine.models.config import read_json, tower_config
from ..engine.models.dasheng import MIN_SAMPLES
from ..engine.models.frontend import whisper_frontend
from ..errors import AudioError
from ..kernels.logmel import SPECS, LogMelSpec, logmel
from . import parallel
from .data import Row
from .data.index import at, ids_of
from .data.sounds import load_sounds
from .features import FeatureCache
from .models.qwen2_audio import NUM_AHEAD


class Features(Protocol):
    """Gives rows their features [n, W]."""

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]: ...

    def usable(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[str]]:
        """The rows that have features, and a line for each that has none."""
        ...


class CachedFeatures:
    """From a folder that `harken.training.features` wrote."""

    def __init__(self, folder: str | Path) -> None:
        self._cache = FeatureCache(folder)
        self._folder = folder

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        return [self._cache[row.id] for row in rows]

    def usable(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[str]]:
        is_there = [row_id in self._cache for row_id in ids_of(rows)]
        told = f"not in the cache of features {self._folder}"
        problems = [f"{row_id}: {told}" for row_id, there in zip(ids_of(rows), is_there) if not there]
        return at(rows, (i for i, there in enumerate(is_there) if there)), problems


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """The log-mel frames that a tower takes."""

    spec: LogMelSpec
    # Where the features' transform ends; None: nowhere.
    max_samples: int | None = None
    # Shorter sounds are followed by zeros.
    min_samples: int = 0
    # Frames behind the sound's end that are kept; zeros where the transform has ended.
    num_ahead: int = 0


def front_end(folder: str | Path) -> FrontEnd:
    """What the tower of the checkpoint in `folder` takes, by its config.json and preprocessor_config.json.

    Raises:
        ModelError: a front end that harken does not have.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if config.get("model_type") == "midashenglm":
        return FrontEnd(SPECS["dasheng-64"], min_samples=MIN_SAMPLES)
    audio = config.get("thinker_config", config).get("audio_config", {})
    preprocessor = read_json(folder / "preprocessor_config.json")
    spec, max_samples = whisper_frontend(preprocessor, tower_config(audio).num_mels, str(folder))
    return FrontEnd(spec, max_samples, num_ahead=NUM_AHEAD if config.get("model_type") == "qwen2_audio" else 0)


class LiveMels:
    """Log-mel frames of sounds, for training the tower itself.

    Args:
        folder: the checkpoint, which tells the front end.
        max_s, min_s: longer sounds are cut, shorter ones padded with zeros.
        verdicts: folder where it is kept which sounds can be read; None: it is not.
    """

    def __init__(
        self, folder: str | Path, *, max_s: float = 30.0, min_s: float = 0.0, verdicts: Path | None = None
    ) -> None:
        self._end, self._verdicts = front_end(folder), verdicts
        self._rate_hz, self._max_s = self._end.spec.sample_rate_hz, max_s
        # What is blanked becomes zeros, which are loud in decibels.
        self.zero_is_quiet = self._end.spec.name.startswith("whisper")
        self._min_samples = max(round(min_s * self._rate_hz), self._end.min_samples)

    def of(self, rows: Sequence[Row]) -> list[np.ndarray]:
        return [self._heard(row, got) for row, got in load_sounds(rows, self._rate_hz, max_s=self._max_s)]

    def usable(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[str]]:
        """The rows whose sounds can be read to their end. Each is read once; a run that goes on knows."""
        bad = self._unheard(rows) if self._verdicts is None else self._kept_verdict(rows, self._verdicts)
        return at(rows, (i for i in range(len(rows)) if i not in bad)), list(bad.values())

    def _kept_verdict(self, rows: Sequence[Row], folder: Path) -> dict[int, str]:
        """`_unheard`, which the first process alone asks for, and once."""
        key = hashlib.sha256(f"{self._end} {self._max_s} {self._min_samples}".encode())
        for row_id in ids_of(rows):
            key.update(f"{len(row_id)} {row_id}".encode())
        file = folder / f"{key.hexdigest()[:12]}.json"
        if parallel.is_first() and not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._unheard(rows), ensure_ascii=False))
            os.replace(temporary, file)
        parallel.wait_for_all()
        return {int(place): told for place, told in json.loads(file.read_text()).items()}

    def _unheard(self, rows: Sequence[Row]) -> dict[int, str]:
        """What is wrong with the sound of the rows at some places."""
        bad: dict[int, str] = {}
        with progress_bar("reading sounds", len(rows)) as advance:
            for place, (row, got) in enumerate(load_sounds(rows, self._rate_hz, max_s=self._max_s)):
                try:
                    self._heard(row, got)
                except AudioError as error:
                    bad[place] = str(error)
                advance(1)
        return bad

    def _heard(self, row: Row, got: Waveform | AudioError) -> np.ndarray:
        if isinstance(got, AudioError):
            raise got
        return self.frames(row, got.samples)

    def frames(self, row: Row, samples: np.ndarray) -> np.ndarray:
        """[F, M] of a row's samples.

        Raises:
            AudioError: they are too few.
        """
        if len(samples) < self._min_samples:
            samples = np.pad(samples, (0, self._min_samples - len(samples)))
        end = self._end
        mel = logmel(
            torch.from_numpy(samples),
            (0, len(samples)),
            end.spec,
            extra_frames=end.num_ahead,
            max_samples=end.max_samples,
        )
        if mel.num_frames[0] < 3:
            raise AudioError(f"{row.id}: {len(samples)} samples are too short for one audio token")
        num_rows = mel.num_frames[0] + end.num_ahead
        return np.pad(mel.features_FM.numpy(), ((0, num_rows - len(mel.features_FM)), (0, 0)))
