"""The engine's face: sounds and sentences in, vectors of one space out.

Source: own; names follow sentence-transformers where it has a word for the thing.
"""

from collections import Counter
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
from .encoder import Encoder
from .fingerprint import Fingerprint
from .models.heads import Head
from .models.packed import Segments
from .models.transfer import put, uploaded
from .prompts import Prompts
from .reading import read_chunks
from .recipes import Recipe
from .text.template import Prompt, check_text
from .text.tokenizer import Tokenizer

# A piece of a sound: the row of the input it belongs to, and its samples.
Piece = tuple[int, np.ndarray]
# (rows of the input, audio tokens of a piece of each) -> the prompts they are put in.
PromptsOf = Callable[[Sequence[int], Sequence[int]], list[Prompt]]


class Embedder:
    """A model with a recipe. Made by `harken.load`.

    Args:
        encoder: the model and how its states become vectors.
        recipe: prompts and limits.
        tokenizer: of the checkpoint.
        fingerprint: of all that decides what a vector is.
        batch_tokens: tokens of one batch; more keeps a GPU busier and takes more memory.
        folder, adapter: where the model was read from.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        tokenizer: Tokenizer,
        fingerprint: Fingerprint,
        *,
        batch_tokens: int,
        folder: Path,
        adapter: Path | None,
    ) -> None:
        self.encoder, self.recipe, self.tokenizer, self.fingerprint = encoder, recipe, tokenizer, fingerprint
        self.batch_tokens, self.folder, self.adapter = batch_tokens, folder, adapter
        self._prompts = Prompts(recipe, tokenizer, encoder.model.audio_token_id)

    @property
    def model(self) -> Any:
        """The packed graph, an AudioLM or a DualEncoder: who uses its parts looks which."""
        return self.encoder.model

    @property
    def audio_head(self) -> Head | None:
        return self.encoder.audio_head

    @property
    def text_head(self) -> Head | None:
        return self.encoder.text_head

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.encoder.dim

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
        return self._encode_sources(sources, self._audio_prompts(instruction), progress)

    @property
    def read_limit_s(self) -> float | None:
        """Seconds of a sound beyond which nothing is read; None: all of it counts."""
        return read_limit_s(self.recipe.max_audio_s, self.recipe.long_audio)

    def load_clip(self, source: Any, name: str) -> Waveform:
        """The half of `encode_audio` that needs no device: a sound read, resampled, its length checked; for many threads.

        Raises:
            AudioError: the sound cannot be embedded; the text calls it `name`.
        """
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

    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> np.ndarray:
        """The other half: vectors [n, d] float32 of what `load_clip` gave."""
        prompts_of = self._audio_prompts(instruction)
        pieces = [(row, piece) for row, clip in enumerate(clips) for piece in self._pieces(clip)]
        vectors = self._encode_pieces(pieces, prompts_of)
        return self._stacked([vectors[row] for row in range(len(clips))])

    def _audio_prompts(self, instruction: str | None) -> PromptsOf:
        self._prompts.audio([], instruction)
        return lambda _, nums_tokens: self._prompts.audio(nums_tokens, instruction)

    def _encode_sources(
        self, sources: Sequence[Any], prompts_of: PromptsOf, progress: Callable[[int], None] | None
    ) -> Encoded:
        vectors: dict[int, np.ndarray] = {}
        durations: dict[int, float] = {}
        failures: list[Failure] = []
        for chunk in read_chunks(sources, self.load_clip):
            pieces: list[Piece] = []
            for read in chunk:
                if isinstance(read.got, AudioError):
                    failures.append(Failure(read.row, read.name, "read", str(read.got)))
                else:
                    durations[read.row] = read.got.duration_s
                    pieces.extend((read.row, piece) for piece in self._pieces(read.got))
            vectors.update(self._encode_pieces(pieces, prompts_of))
            if progress is not None:
                progress(len(chunk))
        rows = sorted(vectors)
        return Encoded(self._stacked([vectors[row] for row in rows]), rows, [durations[row] for row in rows], failures)

    def _stacked(self, vectors: list[np.ndarray]) -> np.ndarray:
        return np.stack(vectors) if vectors else np.zeros((0, self.dim), np.float32)

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
        prompts = self._prompts.text(texts, instruction)
        vectors_BD = torch.empty(len(prompts), self.dim, device=self.model.device)
        for batch in plan_batches([len(prompt) for prompt in prompts], self.batch_tokens):
            vectors = self.encoder.text_vectors([prompts[i] for i in batch])
            vectors_BD.index_copy_(0, put(torch.tensor(batch), vectors.device), vectors)
        return vectors_BD.cpu().numpy()

    def text_prompt(self, text: str, *, instruction: str | None = None) -> Prompt:
        """The prompt that a sentence is put in; arguments and errors as `encode_text`."""
        return self._prompts.text([text], instruction)[0]

    def audio_prompt(self, num_samples: int, *, instruction: str | None = None) -> Prompt:
        """The prompt that a clip of `num_samples` is put in; errors as `encode_audio`."""
        return self._prompts.audio([self.model.tower.num_tokens(num_samples)], instruction)[0]

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
        self._prompts.audio_text([], [], instruction)
        texts = [text for _, text in pairs]
        for i, text in enumerate(texts):
            check_text(text, f"pairs[{i}]: ")
        prompts_of: PromptsOf = lambda rows, nums_tokens: self._prompts.audio_text(
            nums_tokens, [texts[row] for row in rows], instruction
        )
        return _all_of(self._encode_sources([source for source, _ in pairs], prompts_of, progress), len(pairs))

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cosine similarities [n, m] float32 of vectors a [n, d] and b [m, d]."""
        a, b = (np.asarray(x, np.float32) for x in (a, b))
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise InputError(f"similarity wants [n, d] and [m, d], got shapes {a.shape} and {b.shape}")
        unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        return unit(a) @ unit(b).T

    def _pieces(self, clip: Waveform) -> list[np.ndarray]:
        """The clip cut to the recipe's longest length; a last piece too short to hear anything in is left out."""
        if self.recipe.silence_db is not None and clip.duration_s > self.recipe.max_audio_s:
            clip = drop_silences(clip, silence_db=self.recipe.silence_db, silence_s=self.recipe.silence_s)
        pieces = [window.samples for window in split_windows(clip, self.recipe.max_audio_s)]
        return pieces if self.model.tower.num_tokens(len(pieces[-1])) else pieces[:-1]

    def _encode_pieces(self, pieces: list[Piece], prompts_of: PromptsOf) -> dict[int, np.ndarray]:
        """Vectors by row; the pieces of a row lie side by side. The device is waited for once, at the end."""
        if not pieces:
            return {}
        num_tokens = [self.model.tower.num_tokens(len(samples)) for _, samples in pieces]
        prompts = prompts_of([row for row, _ in pieces], num_tokens)
        batches = plan_batches([self.encoder.cost(prompt) for prompt in prompts], self.batch_tokens)
        device = self.model.device
        pieces_CD = torch.empty(len(pieces), self.dim, device=device)
        on_device = uploaded(([pieces[i][1] for i in batch] for batch in batches), device)
        for batch, samples in zip(batches, on_device):
            vectors = self.encoder.audio_vectors(samples, [prompts[i] for i in batch])
            pieces_CD.index_copy_(0, put(torch.tensor(batch), device), vectors)
        num_pieces = Counter(row for row, _ in pieces)
        vectors_BD = self.encoder.pool_pieces(pieces_CD, Segments.of(list(num_pieces.values())))
        return dict(zip(num_pieces, vectors_BD.cpu().numpy()))


def _all_of(encoded: Encoded, num_inputs: int) -> np.ndarray:
    """The vectors, if none failed."""
    if encoded.failures:
        first, more = encoded.failures[0], len(encoded.failures) - 1
        raise AudioError(first.error + (f" (and {more} more of {num_inputs} failed)" if more else ""))
    return encoded.vectors
