"""Vectors by a multimodal LLM: hidden states of the prompt, pooled as the recipe says.

Source: own.
Letters: A audio tokens, W width; B, C, D as in encoder.py.
"""

from collections.abc import Mapping, Sequence

import torch

from ..kernels.logmel import LogMel
from .encoder import mean_of_pieces
from .graphs import Captured
from .models.heads import Head
from .models.last_states import LastStates
from .models.mllm import AudioLM
from .models.packed import Segments
from .models.transfer import Samples
from .pooling import pool_vectors
from .recipes import Recipe
from .text.template import Prompt


class LMEncoder:
    """An Encoder around an AudioLM.

    Args:
        model: the packed graph.
        recipe: pooling, attention, heads, normalisation.
        heads: by name; may be empty where the recipe names none.
        captured: what the decoder was captured as; batches it takes run whole, as there is then nothing to gain from
            beginnings that were computed before.
    """

    def __init__(
        self, model: AudioLM, recipe: Recipe, heads: Mapping[str, Head], captured: Captured | None = None
    ) -> None:
        self.model, self.recipe = model, recipe
        self.audio_head = None if recipe.audio_head is None else heads[recipe.audio_head]
        self.text_head = None if recipe.text_head is None else heads[recipe.text_head]
        self._captured, self._last_states = captured, LastStates(model)

    @property
    def dim(self) -> int:
        return self.model.width if self.audio_head is None else self.audio_head.dim

    def cost(self, prompt: Prompt) -> int:
        return len(prompt)

    @torch.inference_mode()
    def audio_vectors(self, samples: Samples, prompts: Sequence[Prompt]) -> torch.Tensor:
        return self.feature_vectors(self.model.tower.features(*samples), prompts)

    @torch.inference_mode()
    def feature_vectors(self, mel: LogMel, prompts: Sequence[Prompt]) -> torch.Tensor:
        """`audio_vectors` from the tower's features on."""
        rows_AW, _ = self.model.audio_rows(mel)
        return self._vectors(prompts, rows_AW, self.audio_head)

    @torch.inference_mode()
    def text_vectors(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        return self._vectors(prompts, None, self.text_head)

    def pool_pieces(self, pieces_CD: torch.Tensor, clips: Segments) -> torch.Tensor:
        return mean_of_pieces(pieces_CD, clips, normalize=self.recipe.normalize)

    def _vectors(self, prompts: Sequence[Prompt], rows_AW: torch.Tensor | None, head: Head | None) -> torch.Tensor:
        segments = Segments.of([len(prompt) for prompt in prompts])
        causal, last = self.recipe.attention == "causal", self.recipe.pooling == "last"
        whole = self._captured is not None and self._captured.fits(segments)
        if causal and last and not whole:
            hidden = self._last_states(prompts, rows_AW)
        else:
            hidden, _ = self.model.hidden(prompts, rows_AW, causal=causal, last_only=last)
        norm = self.model.decoder.norm
        return pool_vectors(hidden, segments, prompts, recipe=self.recipe, norm=norm, head=head)
