"""Qwen2-Audio, and harken-mini, which is laid out like it. The tower is frozen; its outputs are the features.

Source: own, over transformers' Qwen2AudioForConditionalGeneration.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import ModelError
from .backbone import Backbone, decoder_parts, fuse_norms


class Qwen2AudioBackbone(Backbone):
    parts = {
        **decoder_parts(r".*language_model"),
        "projector": r".*multi_modal_projector\.linear",
    }
    projector_names = ["multi_modal_projector.linear"]

    def __init__(self, folder: Path, *, dtype: torch.dtype, trains_tower: bool) -> None:
        from transformers import Qwen2AudioForConditionalGeneration

        if trains_tower:
            raise ModelError(f"{folder}: the tower of Qwen2-Audio is not trained here; take 'tower' out of lora.parts")
        super().__init__(folder, trains_tower=False)
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(str(folder), dtype=dtype)
        self.audio_token_id = self.model.config.audio_token_id
        fuse_norms(self.decoder)

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        rows = torch.from_numpy(np.concatenate(features)).to(self.device)
        # In float32 where it is trained whole, else in the checkpoint's dtype.
        projector = self.model.model.multi_modal_projector.linear
        return projector(rows.to(projector.weight.dtype))
