"""A model for tests of bulk runs that needs no weights: a vector is a few moments of the samples.

As a program it runs `run_bulk` with that model:  python fake.py OUT INPUT... [--sleep-ms N]
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harken.engine.audio import Waveform, load_audio
from harken.engine.bulk import Settings, run_bulk

DIM = 8


class Told:
    def __init__(self, name: str) -> None:
        self.id = name

    def to_dict(self) -> dict[str, Any]:
        return {"weights": self.id, "recipe": "fake"}


class FakeEncoder:
    """Its vectors also depend, by a little, on the neighbours in the batch, as rounding makes those of real models."""

    dim, read_limit_s = DIM, None

    def __init__(self, name: str = "fake", *, sleep_ms: float = 0.0) -> None:
        self.fingerprint, self.sleep_ms = Told(name), sleep_ms
        self.batches: list[int] = []

    def load_clip(self, source: Any, name: str) -> Waveform:
        return load_audio(source, 16000, name=name)

    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> np.ndarray:
        time.sleep(self.sleep_ms / 1000)
        self.batches.append(len(clips))
        total = sum(float(np.abs(clip.samples).sum()) for clip in clips)
        moments = [[float((np.abs(clip.samples) ** k).mean()) for k in range(1, DIM + 1)] for clip in clips]
        return np.asarray(moments, np.float32) + np.float32(total * 1e-9)


if __name__ == "__main__":
    inputs, sleep_ms = sys.argv[2:], 0.0
    if "--sleep-ms" in inputs:
        at = inputs.index("--sleep-ms")
        sleep_ms = float(inputs[at + 1])
        del inputs[at : at + 2]
    encoder = FakeEncoder(sleep_ms=sleep_ms)
    report = run_bulk(inputs, Path(sys.argv[1]), lambda: encoder, settings=Settings(part_rows=8))
    print(report.progress.num_done, report.finished)
