"""Vectors by two encoders that meet in one space: no prompt for sounds, pieces of a long sound pooled by the model.

Source: own.
Letters: as in encoder.py.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .encoder import mean_of_pieces
from .models.dual import DualEncoder
from .models.heads import Head
from .models.packed import Segments
from .models.transfer import Samples
from .recipes import Recipe
from .text.template import Prompt

# What ten seconds count for in the tokens of a batch: HTSAT's patches where it has most of its layers.
CHUNK_TOKENS = 256


class TwoTowerEncoder:
    """An Encoder around a DualEncoder, whose projections are part of the model."""

    def __init__(self, model: DualEncoder, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.audio_head: Head | None = None
        self.text_head: Head | None = None

    @property
    def dim(self) -> int:
        return self.model.width

    def cost(self, prompt: Prompt) -> int:
        return CHUNK_TOKENS

    @torch.inference_mode()
    def audio_vectors(self, samples: Samples, prompts: Sequence[Prompt]) -> torch.Tensor:
        vectors_CD = self.model.heard_vectors(self.model.tower.features(*samples))
        # A query attends to the vectors as they come.
        return vectors_CD if self._attends else self._finished(vectors_CD)

    @torch.inference_mode()
    def text_vectors(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        return self._finished(self.model.text_vectors(prompts))

    @torch.inference_mode()
    def pool_pieces(self, pieces_CD: torch.Tensor, clips: Segments) -> torch.Tensor:
        if self._attends:
            return self._finished(self.model.pool_chunks(pieces_CD, clips))
        return mean_of_pieces(pieces_CD, clips, normalize=self.recipe.normalize)

    @property
    def _attends(self) -> bool:
        return self.recipe.long_audio == "chunk-attention"

    def _finished(self, vectors_ND: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors_ND, dim=-1) if self.recipe.normalize else vectors_ND
