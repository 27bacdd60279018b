"""Vectors of sounds and texts, each made once and kept on disk, so that a run that was broken off goes on.

    folder/FINGERPRINT/KIND-HASH.npz   vectors [m, d], rows [m], errors {row: text} of one chunk of inputs

Without a folder nothing is kept.

Source: own.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine.durable import written_aside
from ...errors import AudioError, OutputError
from .sounds import Sound

if TYPE_CHECKING:
    from ...engine.embedder import Embedder

CHUNK = 64
Made = tuple[np.ndarray, list[int], dict[str, str]]


class Vectors:
    """A model whose answers are kept.

    Args:
        model: made by `harken.load`.
        folder: of the cache; None: none.
        audio_instruction, text_instruction: given to the model with every sound or text.
        progress: called with what is embedded and how many more of it are done.
    """

    def __init__(
        self,
        model: "Embedder",
        folder: Path | None = None,
        *,
        audio_instruction: str | None = None,
        text_instruction: str | None = None,
        progress: Callable[[str, int], None] | None = None,
    ) -> None:
        self.model, self.progress = model, progress
        self.folder = None if folder is None else folder / model.fingerprint.id
        self._texts: dict[str, np.ndarray] = {}
        self.audio_instruction, self.text_instruction = audio_instruction, text_instruction

    def try_sounds(
        self, sounds: Sequence[Sound], *, instruction: str | None = None
    ) -> tuple[np.ndarray, dict[str, str]]:
        """Vectors [m, d] of the sounds that can be embedded, and the error of each that cannot, by id."""
        given = self.audio_instruction if instruction is None else instruction
        key = lambda sound: f"{sound.key} {given}"
        return self._chunks("sounds", sounds, key, lambda chunk: self._embed(chunk, given))

    def sounds(self, sounds: Sequence[Sound], *, instruction: str | None = None) -> np.ndarray:
        """Vectors [n, d] of sounds, none of which may fail.

        Raises:
            AudioError: names the first that failed.
        """
        vectors, errors = self.try_sounds(sounds, instruction=instruction)
        if errors:
            raise AudioError(f"{len(errors)} of {len(sounds)} sounds cannot be embedded: {next(iter(errors.values()))}")
        return vectors

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors [n, d] of texts; equal texts are embedded once, also over calls."""
        given = self.text_instruction
        make: Callable[[Sequence[str]], Made] = lambda chunk: (
            self.model.encode_text(chunk, instruction=given),
            list(range(len(chunk))),
            {},
        )
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            vectors, _ = self._chunks("texts", new, lambda text: f"{text} {given}", make)
            self._texts.update(zip(new, vectors))
        return np.stack([self._texts[text] for text in texts])

    def sounds_with_text(self, pairs: Sequence[tuple[Sound, str]]) -> np.ndarray:
        """Vectors [n, d] of sounds with a text each, for recipes that take both together."""
        given = self.audio_instruction
        make: Callable[[Sequence[tuple[Sound, str]]], Made] = lambda chunk: (
            self.model.encode_audio_text([(sound.load(), text) for sound, text in chunk], instruction=given),
            list(range(len(chunk))),
            {},
        )
        return self._chunks("sounds with text", pairs, lambda pair: f"{pair[0].key} {pair[1]} {given}", make)[0]

    def _chunks(
        self,
        kind: str,
        items: Sequence[Any],
        key: Callable[[Any], str],
        make: Callable[[Any], Made],
    ) -> tuple[np.ndarray, dict[str, str]]:
        vectors: list[np.ndarray] = []
        errors: dict[str, str] = {}
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            made = self._kept(kind.replace(" ", "-"), [key(item) for item in chunk], chunk, make)
            vectors.append(made[0])
            errors |= made[2]
            if self.progress is not None:
                self.progress(kind, len(chunk))
        return np.concatenate(vectors), errors

    def _embed(self, sounds: Sequence[Sound], instruction: str | None) -> Made:
        errors: dict[str, str] = {}
        loaded: list[tuple[int, Any]] = []
        for row, sound in enumerate(sounds):
            try:
                loaded.append((row, sound.load()))
            except AudioError as error:
                errors[sound.id] = str(error)
        encoded = self.model.try_encode_audio([source for _, source in loaded], instruction=instruction)
        errors |= {sounds[loaded[f.row][0]].id: f.error for f in encoded.failures}
        return encoded.vectors, [loaded[i][0] for i in encoded.rows], errors

    def _kept(self, kind: str, keys: list[str], chunk: Any, make: Callable[[Any], Made]) -> Made:
        if self.folder is None:
            return make(chunk)
        path = self.folder / f"{kind}-{hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:24]}.npz"
        if path.is_file():
            with np.load(path) as kept:
                return kept["vectors"], kept["rows"].tolist(), json.loads(str(kept["errors"]))
        vectors, rows, errors = make(chunk)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as aside, open(aside, "wb") as file:
                np.savez(file, vectors=vectors, rows=np.array(rows, np.int64), errors=np.array(json.dumps(errors)))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
        return vectors, rows, errors
