"""Vectors of the sounds of rows: made by a model, or found in a vectors file by id or path.

Source: own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..engine.audio import Waveform
from ..engine.embedder import Embedder
from ..engine.fingerprint import Fingerprint, require_same
from ..engine.vectors import read_vectors
from ..errors import AudioError, InputError
from .data.row import Row
from .data.sounds import load_sounds

CHUNK = 256
AMBIGUOUS = -1


def audio_vectors(
    rows: Sequence[Row], model: Embedder, progress: Callable[[int], None] | None = None
) -> tuple[list[Row], np.ndarray, list[str]]:
    """Embed the sounds of rows.

    Args:
        rows: with sounds.
        model: of sounds.
        progress: called with the number of rows just done.

    Returns: the rows that have a vector, their unit vectors [n, d] float32, and a line for each row that has none.

    Raises:
        AudioError: no row has one.
    """
    kept: list[Row] = []
    vectors: list[np.ndarray] = []
    problems: list[str] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        heard: list[tuple[Row, Waveform]] = []
        for row, got in load_sounds(chunk, model.sample_rate_hz, max_s=model.read_limit_s):
            if isinstance(got, Waveform):
                heard.append((row, got))
            else:
                problems.append(str(got))
        encoded = model.try_encode_audio([wave for _, wave in heard])
        kept += [heard[i][0] for i in encoded.rows]
        vectors.append(encoded.vectors)
        problems += [failure.error for failure in encoded.failures]
        if progress is not None:
            progress(len(chunk))
    if not kept:
        raise AudioError(f"not one of {len(rows)} sounds could be embedded; the first: {problems[:1]}")
    return kept, unit(np.concatenate(vectors)), problems


def read_audio_vectors(
    rows: Sequence[Row], path: str | Path, fingerprint: Fingerprint | None = None
) -> tuple[list[Row], np.ndarray, list[str]]:
    """The vectors of rows in a file of `harken embed` or `harken bulk`, by row id, path, or file name without its ending.

    Args:
        rows: an alias that fits several vectors of the file is none.
        path: of the vectors file.
        fingerprint: the vectors must be of this making; None: of any.

    Returns: as `audio_vectors`.

    Raises:
        InputError: the file has a vector for no row.
        FingerprintError: its vectors are of another making.
        FileFormatError: it is no vectors file.
    """
    table = read_vectors(Path(path))
    if fingerprint is not None and table.fingerprint is not None:
        require_same(table.fingerprint, fingerprint, str(path))
    places: dict[str, int] = {}
    for i, name in enumerate(table.ids):
        for alias in {name, str(Path(name).absolute()), Path(name).stem}:
            places[alias] = AMBIGUOUS if alias in places else i
    kept, order, problems = [], [], []
    for row in rows:
        aliases = [row.id]
        # The parts of one file have ids of their own only.
        if isinstance(row.audio, Path) and row.start_s is None and row.end_s is None:
            aliases += [str(row.audio), str(row.audio.absolute()), row.audio.stem]
        place = next((places[alias] for alias in aliases if places.get(alias, AMBIGUOUS) != AMBIGUOUS), None)
        if place is None:
            problems.append(f"{row.id}: has no vector in {path}")
        else:
            kept.append(row)
            order.append(place)
    if not kept:
        raise InputError(f"{path}: has a vector for none of {len(rows)} rows; its ids are like {table.ids[:1]}")
    return kept, unit(table.vectors[order]), problems


def text_vectors(rows: Sequence[Row], model: Embedder) -> np.ndarray:
    """Unit vectors of all captions of rows, row by row, in the order of `Row.captions`."""
    captions = [caption for row in rows for caption in row.captions]
    if not captions:
        raise InputError(f"{len(rows)} rows have no caption")
    return unit(model.encode_text(captions))


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """Rows at unit length; a row of zeros stays."""
    return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
