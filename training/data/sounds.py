"""The sound of a row as samples, and the sounds of many in threads.

Source: own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ...engine.audio import Waveform, decode_part, resample
from ...errors import AudioError
from .row import Row

NUM_THREADS = 4
AHEAD = 32


def load_sound(row: Row, sample_rate_hz: int | None = None, *, max_s: float | None = None) -> Waveform:
    """The part of a row's file that is meant.

    Args:
        row: with its file or bytes.
        sample_rate_hz: of the result; None: the sound's own.
        max_s: what goes beyond is cut off; None: nothing is.

    Raises:
        AudioError: the row has no sound, or one that cannot be read; the text names row and file. Never silence instead.
    """
    if (audio := row.read_audio()) is None:
        raise AudioError(f"{row.id}: has no sound")
    name = f"{row.id} ({audio})" if isinstance(audio, Path) else row.id
    wave = decode_part(audio, name, start_s=row.start_s, end_s=row.end_s, limit_s=max_s)
    return wave if sample_rate_hz is None else resample(wave, sample_rate_hz)


def load_sounds(
    rows: Iterable[Row], sample_rate_hz: int | None = None, *, max_s: float | None = None
) -> Iterator[tuple[Row, Waveform | AudioError]]:
    """Each row with its sound or with what is wrong with it, in order; arguments as `load_sound`."""

    def load(row: Row) -> tuple[Row, Waveform | AudioError]:
        try:
            return row, load_sound(row, sample_rate_hz, max_s=max_s)
        except AudioError as error:
            return row, error

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        ahead = []
        for row in rows:
            ahead.append(threads.submit(load, row))
            if len(ahead) >= AHEAD:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()


def sound_hash(wave: Waveform) -> str:
    """16 hex digits of a sound's samples as 16-bit numbers: equal for the same samples in WAV and FLAC."""
    samples = np.clip(np.rint(wave.samples * 32768.0), -32768, 32767).astype("<i2")
    return hashlib.sha256(f"{wave.sample_rate_hz} ".encode() + samples.tobytes()).hexdigest()[:16]


def unreadable(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each row whose sound cannot be decoded."""
    for _, got in load_sounds(row for row in rows if row.audio is not None):
        if isinstance(got, AudioError):
            yield str(got)
