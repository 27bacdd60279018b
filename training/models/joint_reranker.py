"""A Yes/No reranker whose lower layers know nothing of pairs, so that what they give is computed once and kept.

    s = layers[:J](sound's prompt),  t = layers[:J](text's prompt)
    logits = [h . w_yes, h . w_no],  h = norm(layers[J:]([s; t]))[last]

Source: AuroLA equation 10; parts that meet in the upper layers alone: MacAvaney et al. 2020 (PreTTR, arXiv 2004.14255).
Letters: B prompts, L tokens of the longest, W width, J the recipe's joint_from.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ...engine.recipes.rerank import RerankRecipe
from ...engine.text.template import Prompt
from ...errors import ModelError
from .. import lora
from .backbone import Backbone
from .joint_layers import Heard, JointLayers
from .prompts import group_by_length, pad_right
from .yes_no import YesNoModel


class JointReranker(YesNoModel):
    """The model and its LoRA layers, all of them at or above the recipe's `joint_from`.

    Args: those of YesNoModel.

    Raises:
        ModelError: the recipe has no joint layer of its own, or LoRA would change what is kept.
    """

    def __init__(
        self,
        backbone: Backbone,
        recipe: RerankRecipe,
        settings: lora.LoraSettings,
        *,
        seed: int = 0,
        max_tokens: int = 2048,
    ) -> None:
        num_layers = len(backbone.decoder.layers)
        if not 0 < recipe.joint_from < num_layers:
            raise ModelError(
                f"recipe {recipe.name}: joint_from is {recipe.joint_from}; wanted 1 to {num_layers - 1} for this stage"
            )
        if settings.from_layer < recipe.joint_from or settings.whole_projector:
            raise ModelError(
                f"lora.from_layer is {settings.from_layer} and whole_projector {settings.whole_projector}; what stands below "
                f"layer {recipe.joint_from} is kept, so wanted {recipe.joint_from} or more, and false"
            )
        super().__init__(backbone, recipe, settings, seed=seed, max_tokens=max_tokens)
        self._joint = JointLayers(backbone.decoder, recipe.joint_from)

    def sound_states(self, features: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What goes into the first joint layer, [n, W] float32 of each sound's prompt."""
        prompts = [self._prompts.split("a2t", "x", self.backbone.num_tokens(f)).prefix for f in features]
        return self._states(prompts, features)

    def text_states(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The same of texts."""
        return self._states([self._prompts.split("a2t", text, 1).suffix for text in texts], None)

    @torch.no_grad()
    def _states(self, prompts: Sequence[Prompt], features: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for group in group_by_length([len(p) for p in prompts], self.max_tokens):
            ids_BL, is_audio_BL = pad_right([prompts[i] for i in group])
            rows_AW = None if features is None else self.backbone.audio_rows([features[i] for i in group])
            x_BLW = self.backbone.embed(ids_BL, is_audio_BL, rows_AW)
            length = x_BLW.shape[1]
            causal = torch.ones(1, length, length, dtype=torch.bool, device=x_BLW.device).tril()
            positions = torch.arange(length, device=x_BLW.device)[None]
            x_BLW = self.backbone.run_layers(x_BLW, slice(self.recipe.joint_from), causal, positions)
            for i, own in zip(group, x_BLW.float().cpu().numpy()):
                found[i] = own[: len(prompts[i])]
        return [found[i] for i in range(len(prompts))]

    def forward(self, sounds: Sequence[Heard], texts: Sequence[np.ndarray]) -> torch.Tensor:
        """[S, T, 2] float32 logits of Yes and No of every sound and text.

        Args:
            sounds: S of them.
            texts: states [n, W] of T texts.
        """
        return self.answer(self._joint(sounds, texts))
