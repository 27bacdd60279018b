"""The sounds of pairs: named by what they are, read once, their audio tokens shared by all pairs in flight.

A file is known by path, time of change and size, anything else by a hash of its samples. A sound holds its samples until
the tower has heard them, then its audio tokens for as long as a pair in flight needs them.

Source: own.
"""

import hashlib
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from ...errors import AudioError
from ..audio import load_audio
from ..models.mllm import AudioLM
from ..recipes.rerank import RerankRecipe
from .cache import ByteLRU

# File names that make a string a sound rather than a text.
SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .au .caf .m4a .mp4 .aac .webm .mka .mkv .wma .w64 .rf64".split()
)


class Sound:
    """One sound of one or more pairs in flight. Exactly one of `samples` and `rows` is there."""

    __slots__ = ("key", "num_tokens", "samples", "rows", "__weakref__")

    def __init__(self, key: Hashable, num_tokens: int, samples: np.ndarray | None, rows: torch.Tensor | None) -> None:
        self.key, self.num_tokens, self.samples, self.rows = key, num_tokens, samples, rows


class Sounds:
    """Reads sounds and keeps audio tokens.

    Args:
        model: says how many audio tokens samples make.
        recipe: longest and shortest clip.
        cache_bytes: bound of the audio tokens kept for later pairs.
        stored: audio tokens [n, W] by path or name, made earlier by the same model, as an index may hold them.
    """

    def __init__(
        self, model: AudioLM, recipe: RerankRecipe, cache_bytes: int, stored: Mapping[str, np.ndarray] | None
    ) -> None:
        self._model, self._recipe, self._stored = model, recipe, {} if stored is None else stored
        self.cache: ByteLRU[torch.Tensor] = ByteLRU(cache_bytes)
        self._in_flight: WeakValueDictionary[Hashable, Sound] = WeakValueDictionary()
        self._lock = Lock()

    def is_sound(self, source: Any) -> bool:
        """Whether a pair's member is a sound: no string, a name of stored tokens, a sound file's name, or a file."""
        if not isinstance(source, str):
            return True
        if source in self._stored or os.path.splitext(source)[1].lower() in SUFFIXES:
            return True
        return len(source) < 4096 and "\0" not in source and os.path.isfile(source)

    def read(self, source: Any, name: str) -> Sound:
        """The sound of a source, read unless its audio tokens are at hand.

        Raises:
            AudioError: it cannot be read, or is too short to make a single audio token.
        """
        if isinstance(source, (str, Path)) and str(source) in self._stored:
            return self._shared(("stored", str(source)), lambda key: self._from_store(key, str(source), name))
        if isinstance(source, (str, Path)):
            return self._shared(_file_key(source, name), lambda key: self._from_source(key, source, name))
        sound = self._from_source(None, source, name)
        assert sound.samples is not None
        digest = hashlib.blake2b(sound.samples.tobytes(), digest_size=16).digest()
        return self._shared(("samples", digest), lambda key: Sound(key, sound.num_tokens, sound.samples, None))

    def heard(self, sound: Sound, rows_AW: torch.Tensor) -> None:
        """Note the audio tokens of a sound: its pairs have them, and later ones while the cache does."""
        sound.rows, sound.samples = rows_AW, None
        self.cache.put(sound.key, rows_AW, rows_AW.nbytes)

    def _shared(self, key: Hashable, make: Any) -> Sound:
        with self._lock:
            found = self._in_flight.get(key)
        if found is not None:
            return found
        rows = self.cache.get(key)
        made = make(key) if rows is None else Sound(key, len(rows), None, rows)
        with self._lock:
            return self._in_flight.setdefault(key, made)

    def _from_source(self, key: Hashable, source: Any, name: str) -> Sound:
        r, tower = self._recipe, self._model.tower
        rate = tower.spec.sample_rate_hz
        clip = load_audio(source, rate, min_s=r.min_audio_s, max_s=r.max_audio_s, long_audio=r.long_audio, name=name)
        num_tokens = tower.num_tokens(len(clip.samples))
        if num_tokens < 1:
            raise AudioError(f"{name}: {clip.duration_s:.4f} s are too short for this model to hear anything in")
        return Sound(key, num_tokens, clip.samples, None)

    def _from_store(self, key: Hashable, source: str, name: str) -> Sound:
        rows = torch.from_numpy(np.array(self._stored[source]))
        if rows.dim() != 2 or rows.shape[1] != self._model.width or not len(rows) or not torch.isfinite(rows).all():
            raise AudioError(
                f"{name}: stored audio tokens have shape {tuple(rows.shape)} or are not finite; "
                f"wanted [n, {self._model.width}] real numbers"
            )
        return Sound(key, len(rows), None, rows.to(self._model.device, self._model.dtype))


def _file_key(path: str | Path, name: str) -> Hashable:
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return "file", os.path.abspath(path), found.st_mtime_ns, found.st_size
