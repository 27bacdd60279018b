"""The sounds of an index as the search page shows them: a name, what is said of them, the file to play.

Columns `caption`, `tags` and `duration_s` of the index are shown where it has them. Files are read from one folder and
nowhere else, and no path leaves the server: a sound is called by its place below that folder, or by its last name.

Source: own.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ..audio.decode import decode
from ..embedder import Embedder
from ..index import Index

NUM_PEAKS = 96


class Catalog:
    """An index and the folder its sounds lie in.

    Args:
        index: its ids are paths, below `sounds` or absolute.
        sounds: folder of the files; None: nothing can be played.

    Raises:
        InputError: `sounds` is no folder.
    """

    def __init__(self, index: Index, sounds: Path | None) -> None:
        if sounds is not None and not sounds.is_dir():
            raise InputError(f"{sounds}: is no folder; wanted the one that holds the index's sounds")
        self.index = index
        self._sounds = None if sounds is None else sounds.resolve()
        columns = index.metadata.to_pydict()
        self._ids = index.ids
        self._columns = {name: columns.get(name) for name in ("caption", "tags", "duration_s")}
        self._peaks = lru_cache(maxsize=4096)(self._measure_peaks)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def tags(self) -> list[str]:
        """Every tag, the most frequent first."""
        counts: dict[str, int] = {}
        for tags in self._columns["tags"] or []:
            for tag in tags or []:
                counts[tag] = counts.get(tag, 0) + 1
        return sorted(counts, key=lambda tag: (-counts[tag], tag))

    def describe(self, position: int) -> dict[str, Any]:
        """name, caption, tags, duration_s and audio_url of a row; what is not known is left out."""
        shown: dict[str, Any] = {"name": self._name(position)}
        for field, values in self._columns.items():
            if values is not None and values[position] is not None:
                shown[field] = values[position]
        if self.file(position) is not None:
            shown["audio_url"] = f"/v1/sounds/{position}/audio"
        return shown

    def file(self, position: int) -> Path | None:
        """The file of a row, if it lies in the folder."""
        if self._sounds is None or not 0 <= position < len(self._ids):
            return None
        path = (self._sounds / self._ids[position]).resolve()
        return path if path.is_relative_to(self._sounds) and path.is_file() else None

    def peaks(self, position: int) -> list[float]:
        """The loudest sample of each of 96 equal parts of a sound, 0 to 1.

        Raises:
            InputError: there is no such sound, or it cannot be read.
        """
        return self._peaks(position)

    def keep(self, tags: Sequence[str]) -> np.ndarray | None:
        """bool [n]: rows that have all of the tags; None where none is asked for.

        Raises:
            InputError: the index has no tags.
        """
        if not tags:
            return None
        if self._columns["tags"] is None:
            raise InputError("this index has no tags to filter by")
        wanted = set(tags)
        return np.array([wanted <= set(own or ()) for own in self._columns["tags"]], bool)

    def _name(self, position: int) -> str:
        path = Path(self._ids[position])
        if not path.is_absolute():
            return str(path)
        if self._sounds is not None and path.is_relative_to(self._sounds):
            return str(path.relative_to(self._sounds))
        return path.name

    def _measure_peaks(self, position: int) -> list[float]:
        path = self.file(position)
        if path is None:
            raise InputError(f"sound {position}: there is no file of it here")
        samples = np.abs(decode(path, self._name(position)).samples)
        parts = [part for part in np.array_split(samples, NUM_PEAKS) if len(part)]
        return [round(min(1.0, float(part.max())), 3) for part in parts]


def packaged_clips(embedder: Embedder, folder: Path) -> Catalog:
    """A catalog of the clips that come with harken, embedded now."""
    clips = json.loads((folder / "clips.json").read_text())["clips"]
    names = [clip["file"] for clip in clips]
    vectors = embedder.encode_audio([folder / name for name in names])
    metadata = {field: [clip[field] for clip in clips] for field in ("caption", "tags", "duration_s", "licence")}
    return Catalog(Index.build(vectors, ids=names, metadata=metadata, fingerprint=embedder.fingerprint), folder)
