"""The engine's face: sounds and sentences in, vectors of one space out.

Source: own; names follow sentence-transformers where it has a word for the thing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import AudioError, InputError
from .audio import Waveform, load_audio, read_limit_s, split_windows
from .audio.segment import drop_silences
from .batching import plan_batches
from .encoded import Encoded, Failure
from .fingerprint import Fingerprint
from .models.heads import Head
from .models.last_states import LastStates
from .models.mllm import AudioLM
from .models.packed import Segments
from .pooling import pool_vectors
from .reading import read_chunks
from .recipes import Recipe
from .text.template import Prompt, Template, check_text
from .text.tokenizer import Tokenizer

# (row of the input, audio tokens of the sound) -> the prompt they are put in.
PromptOf = Callable[[int, int], Prompt]


class Embedder:
    """A model with a recipe. Made by `harken.load`.

    Args:
        model: the packed graph.
        recipe: prompts, pooling, head, limits.
        tokenizer: of the checkpoint.
        heads: by name; may be empty where the recipe names none.
        fingerprint: of all that decides what a vector is.
        batch_tokens: tokens of one batch; more keeps a GPU busier and takes more memory.
        folder, adapter: where the model was read from.
    """

    def __init__(
        self,
        model: AudioLM,
        recipe: Recipe,
        tokenizer: Tokenizer,
        heads: dict[str, Head],
        fingerprint: Fingerprint,
        *,
        batch_tokens: int,
        folder: Path,
        adapter: Path | None,
    ) -> None:
        self.model, self.recipe, self.tokenizer, self.fingerprint = model, recipe, tokenizer, fingerprint
        self.batch_tokens, self.folder, self.adapter = batch_tokens, folder, adapter
        self.audio_head = None if recipe.audio_head is None else heads[recipe.audio_head]
        self.text_head = None if recipe.text_head is None else heads[recipe.text_head]
        self._last_states = LastStates(model)
        self._audio_template = self._template(recipe.audio_template)
        self._text_template = self._template(recipe.text_template)
        self._audio_text_template = self._template(recipe.audio_text_template)

    def _template(self, template: str | None) -> Template | None:
        if template is None:
            return None
        return Template(
            self.tokenizer,
            template,
            audio_token_id=self.model.audio_token_id,
            max_text_tokens=self.recipe.max_text_tokens,
            strip_end=self.recipe.strip_text_end,
        )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.model.width if self.audio_head is None else self.audio_head.dim

    @property
    def sample_rate_hz(self) -> int:
        return self.model.tower.spec.sample_rate_hz

    def encode_audio(
        self, sources: Sequence[Any], *, instruction: str | None = None, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Vectors of sounds.

        Args:
            sources: paths, bytes of files, Waveforms, (samples, rate) pairs, {"array", "sampling_rate"} dictionaries.
            instruction: for recipes whose audio template takes one; None: the recipe's own.
            progress: called with the number of sounds just done.

        Returns: [n, d] float32 in the order of `sources`.

        Raises:
            AudioError: a sound cannot be embedded; the text names it. `try_encode_audio` goes on instead.
            InputError: the recipe takes no sounds, or no instruction.
        """
        return _all_of(self.try_encode_audio(sources, instruction=instruction, progress=progress), len(sources))

    def try_encode_audio(
        self, sources: Sequence[Any], *, instruction: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Encoded:
        """Vectors of the sounds that can be embedded, and a named failure for each that cannot; arguments as `encode_audio`."""
        if isinstance(sources, (str, bytes, Path)):
            raise InputError(f"sources must be a list of sounds, got one {type(sources).__name__}")
        return self._encode_sources(sources, self._audio_prompt(instruction), progress)

    @property
    def read_limit_s(self) -> float | None:
        """Seconds of a sound beyond which nothing is read; None: all of it counts."""
        return read_limit_s(self.recipe.max_audio_s, self.recipe.long_audio)

    def load_clip(self, source: Any, name: str) -> Waveform:
        """The half of `encode_audio` that needs no device: a sound read, resampled, its length checked; for many threads.

        Raises:
            AudioError: the sound cannot be embedded; the text calls it `name`.
        """
        return self._load(source, name)

    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> np.ndarray:
        """The other half: vectors [n, d] float32 of what `load_clip` gave."""
        prompt = self._audio_prompt(instruction)
        windows = [(row, window) for row, clip in enumerate(clips) for window in self._windows(clip)]
        vectors = self._encode_clips(windows, prompt) if windows else {}
        return np.stack([vectors[row] for row in range(len(clips))]) if clips else np.zeros((0, self.dim), np.float32)

    def _audio_prompt(self, instruction: str | None) -> PromptOf:
        if (template := self._audio_template) is None:
            raise InputError(f"recipe {self.recipe.name!r} takes no sounds")
        given = self._instruction(instruction, self.recipe.default_audio_instruction, template)
        return lambda _, n: template.audio(n, instruction=given)

    def _encode_sources(
        self, sources: Sequence[Any], prompt: PromptOf, progress: Callable[[int], None] | None
    ) -> Encoded:
        vectors: dict[int, np.ndarray] = {}
        durations: dict[int, float] = {}
        failures: list[Failure] = []
        for chunk in read_chunks(sources, self._load):
            clips: list[tuple[int, np.ndarray]] = []
            for read in chunk:
                if isinstance(read.got, AudioError):
                    failures.append(Failure(read.row, read.name, "read", str(read.got)))
                else:
                    durations[read.row] = read.got.duration_s
                    clips.extend((read.row, window) for window in self._windows(read.got))
            vectors.update(self._encode_clips(clips, prompt))
            if progress is not None:
                progress(len(chunk))
        rows = sorted(vectors)
        stacked = np.stack([vectors[row] for row in rows]) if rows else np.zeros((0, self.dim), np.float32)
        return Encoded(stacked, rows, [durations[row] for row in rows], failures)

    def encode_text(self, texts: Sequence[str], *, instruction: str | None = None) -> np.ndarray:
        """Vectors of sentences.

        Args:
            texts: none may be empty.
            instruction: for recipes whose text template takes one; None: the recipe's own.

        Returns: [n, d] float32 in the order of `texts`.

        Raises:
            InputError: a text is no string or is empty, or the recipe takes no text or no instruction.
        """
        if isinstance(texts, str):
            raise InputError("texts must be a list of strings, got one string")
        for i, text in enumerate(texts):
            check_text(text, f"texts[{i}]: ")
        prompts = [self.text_prompt(text, instruction=instruction) for text in texts]
        vectors = np.zeros((len(prompts), self.dim), np.float32)
        for batch in plan_batches([len(p) for p in prompts], self.batch_tokens):
            vectors[batch] = self._vectors([prompts[i] for i in batch], None, self.text_head)
        return vectors

    def text_prompt(self, text: str, *, instruction: str | None = None) -> Prompt:
        """The prompt that a sentence is put in; arguments and errors as `encode_text`."""
        if (template := self._text_template) is None:
            raise InputError(f"recipe {self.recipe.name!r} takes no text")
        given = self._instruction(instruction, self.recipe.default_text_instruction, template)
        return template.text(text, instruction=given)

    def audio_prompt(self, num_samples: int, *, instruction: str | None = None) -> Prompt:
        """The prompt that a clip of `num_samples` is put in; errors as `encode_audio`."""
        return self._audio_prompt(instruction)(0, self.model.tower.num_tokens(num_samples))

    def encode_audio_text(
        self,
        pairs: Sequence[tuple[Any, str]],
        *,
        instruction: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Vectors of sounds with a text each; they share the head of sounds, where the recipe has one.

        Args:
            pairs: (sound as `encode_audio` takes it, text); no text may be empty.
            instruction, progress: as `encode_audio`.

        Returns: [n, d] float32 in the order of `pairs`.

        Raises:
            AudioError: a sound cannot be embedded; the text names it.
            InputError: a text is no string or is empty, or the recipe takes no sounds with a text.
        """
        if (template := self._audio_text_template) is None:
            raise InputError(f"recipe {self.recipe.name!r} takes no sound together with a text")
        given = self._instruction(instruction, self.recipe.default_audio_instruction, template)
        for i, (_, text) in enumerate(pairs):
            check_text(text, f"pairs[{i}]: ")
        prompt: PromptOf = lambda row, n: template.audio(n, text=pairs[row][1], instruction=given)
        return _all_of(self._encode_sources([source for source, _ in pairs], prompt, progress), len(pairs))

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cosine similarities [n, m] float32 of vectors a [n, d] and b [m, d]."""
        a, b = (np.asarray(x, np.float32) for x in (a, b))
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise InputError(f"similarity wants [n, d] and [m, d], got shapes {a.shape} and {b.shape}")
        unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        return unit(a) @ unit(b).T

    def _instruction(self, given: str | None, default: str, template: Template) -> str:
        if given is not None and not template.takes_instruction:
            raise InputError(f"recipe {self.recipe.name!r} takes no instruction, got {given!r}")
        return default if given is None else given

    def _load(self, source: Any, name: str) -> Waveform:
        """A source as this recipe wants it; an AudioError if it is too short to make a single audio token."""
        clip = load_audio(
            source,
            name=name,
            sample_rate_hz=self.sample_rate_hz,
            min_s=self.recipe.min_audio_s,
            max_s=self.recipe.max_audio_s,
            long_audio=self.recipe.long_audio,
        )
        if self.model.tower.num_tokens(len(clip.samples)) < 1:
            raise AudioError(f"{name}: {clip.duration_s:.4f} s are too short for this model to hear anything in")
        return clip

    def _windows(self, clip: Waveform) -> list[np.ndarray]:
        """The clip cut to the recipe's longest length; a last piece too short to hear anything in is left out."""
        if self.recipe.silence_db is not None and clip.duration_s > self.recipe.max_audio_s:
            clip = drop_silences(clip, silence_db=self.recipe.silence_db, silence_s=self.recipe.silence_s)
        windows = [window.samples for window in split_windows(clip, self.recipe.max_audio_s)]
        return windows if self.model.tower.num_tokens(len(windows[-1])) else windows[:-1]

    def _encode_clips(self, clips: list[tuple[int, np.ndarray]], prompt: PromptOf) -> dict[int, np.ndarray]:
        """Vectors by row; a row of several windows gets their mean, scaled to unit length if the recipe's vectors are."""
        prompts = [prompt(row, self.model.tower.num_tokens(len(samples))) for row, samples in clips]
        windows: dict[int, list[np.ndarray]] = {row: [] for row, _ in clips}
        for batch in plan_batches([len(p) for p in prompts], self.batch_tokens):
            with torch.inference_mode():
                audio_rows, _ = self.model.audio_rows(self.model.features([clips[i][1] for i in batch]))
            vectors = self._vectors([prompts[i] for i in batch], audio_rows, self.audio_head)
            for i, vector in zip(batch, vectors):
                windows[clips[i][0]].append(vector)
        return {row: self._mean(vectors) for row, vectors in windows.items()}

    def _mean(self, vectors: list[np.ndarray]) -> np.ndarray:
        if len(vectors) == 1:
            return vectors[0]
        mean = np.mean(vectors, axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12) if self.recipe.normalize else mean

    @torch.inference_mode()
    def _vectors(self, prompts: list[Prompt], audio_rows: torch.Tensor | None, head: Head | None) -> np.ndarray:
        causal, last = self.recipe.attention == "causal", self.recipe.pooling == "last"
        if causal and last:
            hidden, segments = self._last_states(prompts, audio_rows), Segments.of([1] * len(prompts))
        else:
            hidden, segments = self.model.hidden(prompts, audio_rows, causal=causal, last_only=last)
        vectors = pool_vectors(hidden, segments, prompts, recipe=self.recipe, norm=self.model.decoder.norm, head=head)
        return vectors.float().cpu().numpy()


def _all_of(encoded: Encoded, num_inputs: int) -> np.ndarray:
    """The vectors, if none failed."""
    if encoded.failures:
        first, more = encoded.failures[0], len(encoded.failures) - 1
        raise AudioError(first.error + (f" (and {more} more of {num_inputs} failed)" if more else ""))
    return encoded.vectors
