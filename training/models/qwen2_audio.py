"""Qwen2-Audio, and harken-mini, which is laid out like it. Features are the tower's outputs, or log-mel frames where the tower
is trained: those of the sound and the two behind its end that the last position sees.

transformers runs the tower on 30 s, whatever the sound's length; here its layers run on the sounds alone, padded to the longest
of a group, with the same values.

Source: own, over transformers' Qwen2AudioForConditionalGeneration; engine/models/whisper.py.
Letters: B sounds, F frames, M mels, P positions, W width, A audio tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...engine.models.whisper import num_audio_tokens, num_positions
from .backbone import Backbone, decoder_parts, fuse_norms

_LAYER = r".*audio_tower\.layers\.\d+"
# Frames behind a sound's end among its features.
NUM_AHEAD = 2


class Qwen2AudioBackbone(Backbone):
    parts = {
        **decoder_parts(r".*language_model"),
        "tower": rf"{_LAYER}\.(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)",
        "tower-attention": rf"{_LAYER}\.self_attn\.(q_proj|k_proj|v_proj|out_proj)",
        "projector": r".*multi_modal_projector\.linear",
    }
    projector_names = ["multi_modal_projector.linear"]

    def __init__(self, folder: Path, *, dtype: torch.dtype, trains_tower: bool) -> None:
        from transformers import Qwen2AudioForConditionalGeneration

        super().__init__(folder, trains_tower=trains_tower)
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(str(folder), dtype=dtype)
        self.audio_token_id = self.model.config.audio_token_id
        fuse_norms(self.decoder)

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def num_tokens(self, features: np.ndarray) -> int:
        return num_audio_tokens(len(features) - NUM_AHEAD) if self.trains_tower else len(features)

    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        if self.trains_tower:
            rows = self._tower_rows(features)
        else:
            rows = torch.from_numpy(np.concatenate(features)).to(self.device)
        # In float32 where it is trained whole, else in the checkpoint's dtype.
        projector = self.model.model.multi_modal_projector.linear
        return projector(rows.to(projector.weight.dtype))

    def _tower_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        """[A, W] of log-mel frames [F, M]."""
        tower = self.model.model.audio_tower
        mels_BFM = nn.utils.rnn.pad_sequence([torch.from_numpy(f) for f in features], batch_first=True)
        mels_BFM = mels_BFM.to(self.device, tower.conv1.weight.dtype)
        lengths_B = torch.tensor([num_positions(len(f) - NUM_AHEAD) for f in features], device=self.device)
        longest = int(lengths_B.max())
        x_BWP = F.gelu(tower.conv2(F.gelu(tower.conv1(mels_BFM.transpose(1, 2)))))[..., :longest]
        x_BPW = x_BWP.transpose(1, 2) + tower.embed_positions.weight[:longest]
        is_seen_BP = torch.arange(longest, device=self.device) < lengths_B[:, None]
        mask = None if bool(is_seen_BP.all()) else is_seen_BP[:, None, None]
        for layer in tower.layers:
            x_BPW = layer(x_BPW, mask)
        x_BAW = tower.layer_norm(F.avg_pool1d(x_BPW.transpose(1, 2), 2).transpose(1, 2))
        return torch.cat([rows[: self.num_tokens(f)] for rows, f in zip(x_BAW, features)])
