"""The frozen tower's outputs of every clip, computed once and kept on disk in float16.

    folder/features.npy   [N, W] rows of all clips, end to end
    folder/clips.json     {"source": what made them, "ids": [...], "lengths": [...]}

Clips are never padded: a clip of t seconds has about 25 t rows. Clips that cannot be read are listed, not cached.

Source: own.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import AudioError, FileFormatError
from .data import Clip


class FeatureCache:
    """Tower outputs by clip id, memory-mapped.

    Raises:
        FileFormatError: the two files are missing or do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            index = json.loads((folder / "clips.json").read_text())
            self._rows = np.load(folder / "features.npy", mmap_mode="r")
            lengths, ids = index["lengths"], index["ids"]
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"{folder}: cannot be read as a cache of features: {error!r}") from None
        if sum(lengths) != len(self._rows) or len(lengths) != len(ids):
            raise FileFormatError(f"{folder}: {len(self._rows)} rows, but clips.json tells of {sum(lengths)}")
        self.source = index.get("source", "")
        stops = np.cumsum(lengths)
        self._spans = {id_: (int(stop) - length, int(stop)) for id_, length, stop in zip(ids, lengths, stops)}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._spans

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """[tokens, W] float16."""
        start, stop = self._spans[clip_id]
        return self._rows[start:stop]


def write_cache(
    folder: str | Path,
    clips: Sequence[Clip],
    encode: Callable[[Sequence[Clip]], Iterable[np.ndarray | str]],
    source: str,
) -> list[str]:
    """Fill a cache folder.

    Args:
        encode: gives for some clips their [tokens, W] arrays, or for one that cannot be used the reason.
        source: what made the features, for the index.

    Returns: the problems, one line a clip that was left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids: list[str] = []
    rows: list[np.ndarray] = []
    problems: list[str] = []
    for start in range(0, len(clips), 16):
        some = clips[start : start + 16]
        for clip, got in zip(some, encode(some)):
            if isinstance(got, str) or not len(got):
                problems.append(
                    f"{clip.id} ({clip.path.name}): {got if isinstance(got, str) else 'too short for one token'}"
                )
            else:
                ids.append(clip.id)
                rows.append(got.astype(np.float16))
    if not rows:
        raise AudioError(f"{folder}: not one of {len(clips)} clips could be encoded; the first: {problems[:1]}")
    np.save(folder / "features.npy", np.concatenate(rows))
    index = {"source": source, "ids": ids, "lengths": [len(r) for r in rows]}
    (folder / "clips.json").write_text(json.dumps(index))
    return problems
