"""The Thinker of Qwen2.5-Omni (OEA, AuroLA). Features are the tower's outputs, or log-mel frames where the tower is trained.

Source: own, over transformers' Qwen2_5OmniThinkerForConditionalGeneration; spec/recipes.md A.5, B.1, C.4.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.models.whisper import num_audio_tokens
from .backbone import Backbone, decoder_parts

_TOWER = r".*audio_tower"


class OmniBackbone(Backbone):
    """`model`: of transformers and already in memory; None: it is read from the folder."""

    parts = {
        **decoder_parts(r"(?!.*(visual|audio_tower)).*"),
        "tower": rf"{_TOWER}\.(layers\.\d+\.(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)|proj)",
        "tower-attention": rf"{_TOWER}\.layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|out_proj)",
    }
    # The tower's last product stands for one.
    projector_names = ["audio_tower.proj"]

    def __init__(self, folder: Path, *, dtype: torch.dtype, trains_tower: bool, model: Any | None = None) -> None:
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration

        super().__init__(folder, trains_tower=trains_tower)
        if model is None:
            model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(str(folder), dtype=dtype)
        self.model = model
        self.model.model.visual = None
        self.audio_token_id = self.model.config.audio_token_id

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def num_tokens(self, features: np.ndarray) -> int:
        return num_audio_tokens(len(features)) if self.trains_tower else len(features)

    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        rows = torch.from_numpy(np.concatenate(features)).to(self.device)
        if not self.trains_tower:
            return rows
        tower = self.model.model.audio_tower
        lengths = torch.tensor([len(f) for f in features], device=self.device)
        return tower(rows.T, feature_lens=lengths).last_hidden_state
