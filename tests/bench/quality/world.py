"""A world in which everything is known: sounds are constant samples that spell a number, and texts name their number.

The model hears and reads the number, so a protocol that pairs things rightly finds everything, and one that is off by one
finds nothing.
"""

import csv
import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from harken.engine.audio import load_audio
from harken.engine.encoded import Encoded, Failure
from harken.engine.fingerprint import Fingerprint
from harken.errors import AudioError, InputError

DIM = 24
RATE = 16000
SCALE = 64


def write_sound(path: Path, *numbers: int, part_s: float = 0.25) -> Path:
    """A file that spells the numbers one after another, each for part_s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.repeat(np.array(numbers, np.float32) + 1, round(part_s * RATE)) / SCALE
    soundfile.write(path, samples, RATE, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@dataclass
class Model:
    """What the protocols need of an Embedder."""

    # Texts are taken for the number this much higher.
    shift: int = 0
    name: str = "world"
    takes_both: bool = True
    audio_template: str = "{audio}"
    heard: list[int] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fingerprint = Fingerprint(self.name, "w", None, "world", "r", "none", "float32", "0")
        template = "{audio}{text}" if self.takes_both else None
        self.recipe = SimpleNamespace(
            name="world", licence="", audio_text_template=template, audio_template=self.audio_template
        )
        self.dim = DIM

    def try_encode_audio(self, sources: list[Any], *, instruction: str | None = None) -> Encoded:
        vectors, rows, failures = [], [], []
        for row, source in enumerate(sources):
            try:
                clip = load_audio(source, RATE)
            except AudioError as error:
                failures.append(Failure(row, str(source), "read", str(error)))
                continue
            number = round(float(np.median(clip.samples)) * SCALE) - 1
            self.heard.append(number)
            vectors.append(_vector(number, "sound"))
            rows.append(row)
        stacked = np.array(vectors, np.float32).reshape(-1, DIM)
        return Encoded(stacked, rows, [1.0] * len(rows), failures)

    def encode_audio(self, sources: list[Any], **options: Any) -> np.ndarray:
        encoded = self.try_encode_audio(sources)
        if encoded.failures:
            raise AudioError(encoded.failures[0].error)
        return encoded.vectors

    def encode_text(self, texts: list[str], *, instruction: str | None = None) -> np.ndarray:
        self.read += texts
        return np.stack([_vector(_number(text) + self.shift, text) for text in texts])

    def encode_audio_text(self, pairs: list[tuple[Any, str]], *, instruction: str | None = None) -> np.ndarray:
        """A text with a number asks to hear that number."""
        heard = self.encode_audio([sound for sound, _ in pairs])
        said = [_number(text, -1) for _, text in pairs]
        return np.stack([v if n < 0 else _vector(n, text) for v, n, (_, text) in zip(heard, said, pairs)])


def _number(text: str, default: int | None = None) -> int:
    found = re.search(r"\d+", text)
    if found is None:
        if default is None:
            raise InputError(f"{text!r} names no number")
        return default
    return int(found[0])


def _vector(number: int, what: str) -> np.ndarray:
    vector = np.random.default_rng(zlib.crc32(what.encode())).normal(0, 1e-3, DIM)
    vector[number % DIM] += 1
    return (vector / np.linalg.norm(vector)).astype(np.float32)
