"""The sounds of a protocol: whole files, parts of them, with noise or without, ready for the model.

Source: own.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.audio import Waveform, decode, decode_part
from ...errors import AudioError
from ...training.data.row import Row

if TYPE_CHECKING:
    from .noise import Noise


@dataclass(frozen=True, slots=True)
class Sound:
    """One candidate or query that is a sound."""

    id: str
    source: Path | bytes
    # Seconds; None: from the beginning, to the end.
    start_s: float | None = None
    end_s: float | None = None
    noise: "Noise | None" = None

    @classmethod
    def of_row(cls, row: Row) -> "Sound":
        if (audio := row.read_audio()) is None:
            raise AudioError(f"{row.id}: has no sound")
        return cls(row.id, audio, row.start_s, row.end_s)

    def with_noise(self, noise: "Noise") -> "Sound":
        return replace(self, noise=noise)

    @property
    def key(self) -> str:
        """What decides the samples: of a file its place, size and time, not its content."""
        if isinstance(self.source, bytes):
            what = hashlib.sha256(self.source).hexdigest()
        else:
            try:
                status = self.source.stat()
            except OSError as error:
                raise AudioError(f"{self.id}: {self.source} cannot be read: {error.strerror}") from None
            what = f"{self.source.resolve()} {status.st_size} {status.st_mtime_ns}"
        noise = "" if self.noise is None else f"{self.noise.key} {self.id}"
        return f"{what} {self.start_s} {self.end_s} {noise}"

    def load(self) -> Any:
        """What `Embedder.encode_audio` takes: the file itself where it is wanted as it is, else samples."""
        if self.noise is None and self.start_s is None and self.end_s is None:
            return self.source
        is_part = self.start_s is not None or self.end_s is not None
        source = _whole(self.source) if is_part else self.source
        clip = decode_part(source, self.id, start_s=self.start_s, end_s=self.end_s)
        return clip if self.noise is None else self.noise.mixed(clip, self.id)


@lru_cache(maxsize=1)
def _whole(source: Path | bytes) -> Waveform:
    """The parts of a recording that lasts an hour stand one after another in the annotations: it is decoded once for all."""
    return decode(source)
