"""An Embedder around a model of two encoders: no prompt for sounds, pieces of a long sound pooled by the model.

Source: own.
"""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from .batching import plan_batches
from .embedder import Embedder, PromptOf
from .models.dual import DualEncoder
from .models.heads import Head
from .models.packed import Segments
from .text.template import Prompt

# What ten seconds count for in the tokens of a batch: HTSAT's patches where it has most of its layers.
CHUNK_TOKENS = 256


class DualEmbedder(Embedder):
    """A model of two encoders with a recipe. Made by `harken.load`."""

    @property
    def _dual(self) -> DualEncoder:
        return cast(DualEncoder, self.model)

    @torch.inference_mode()
    def _encode_clips(self, clips: list[tuple[int, np.ndarray]], prompt: PromptOf) -> dict[int, np.ndarray]:
        """Vectors by row; the pieces of a row lie side by side."""
        pieces_CD = torch.empty(len(clips), self.dim)
        for batch in plan_batches([CHUNK_TOKENS] * len(clips), self.batch_tokens):
            pieces_CD[batch] = self._dual.audio_vectors([clips[i][1] for i in batch]).cpu()
        counts: dict[int, int] = {}
        for row, _ in clips:
            counts[row] = counts.get(row, 0) + 1
        if self.recipe.long_audio == "chunk-attention":
            chunks_CD = pieces_CD.to(self._dual.device)
            pooled = self._dual.pool_chunks(chunks_CD, Segments.of(list(counts.values()))).cpu()
            return dict(zip(counts, self._finished(pooled)))
        pieces = np.split(self._finished(pieces_CD), np.cumsum(list(counts.values()))[:-1])
        return {row: self._mean(list(vectors)) for row, vectors in zip(counts, pieces)}

    @torch.inference_mode()
    def _vectors(self, prompts: list[Prompt], audio_rows: torch.Tensor | None, head: Head | None) -> np.ndarray:
        return self._finished(self._dual.text_vectors(prompts))

    def _finished(self, vectors_ND: torch.Tensor) -> np.ndarray:
        return (F.normalize(vectors_ND, dim=-1) if self.recipe.normalize else vectors_ND).cpu().numpy()
