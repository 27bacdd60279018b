"""Robust-ATR's trained parts over frozen encoders: a projection a side, attention across the two, pooling of chunks.

    projection     transformer layers, a product with bias, mean over the states
    across         A' = A + softmax(A Wq (T Wk)^T / sqrt(D)) T Wv, and the other way round: in training only
    chunks         z = sum_i softmax_i(c_i . q / sqrt(D)) c_i;  q: the paired text's vector, with probability p the learned q0

The losses' contrast sees the vectors before attention across, which are those of inference and know nothing of their pair;
cosine and L1 compare the pair behind it. The paper says neither; contrast behind it would let each side read its answer.

Source: Robust-ATR, arXiv 2604.23323; spec/recipes.md E.1 (sizes and the attention's place are not published).
Letters: B pairs, C chunks, T states, W width, D width of the space.
"""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from ...engine.models.config import read_json
from ...engine.models.weights import checkpoint_files
from ..config import RobustSettings


class Projection(nn.Module):
    """Transformer layers and a product; names as torch.nn.TransformerEncoderLayer's, which the engine reads."""

    def __init__(self, width: int, settings: RobustSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                settings.num_heads,
                settings.mlp_width,
                settings.dropout,
                settings.activation,
                batch_first=True,
            )
            for _ in range(settings.num_layers)
        )
        self.linear = nn.Linear(width, settings.dim)

    def forward(self, x_BTW: torch.Tensor, is_pad_BT: torch.Tensor) -> torch.Tensor:
        """[B, T, D] states; what stands at pads has no meaning."""
        for layer in self.layers:
            x_BTW = layer(x_BTW, src_key_padding_mask=is_pad_BT)
        return self.linear(x_BTW)


class CrossAttention(nn.Module):
    """One side's states with what they find in the other's added."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))

    def forward(self, x_BTD: torch.Tensor, other_BSD: torch.Tensor, is_pad_BS: torch.Tensor) -> torch.Tensor:
        seen = F.scaled_dot_product_attention(
            self.query(x_BTD), self.key(other_BSD), self.value(other_BSD), attn_mask=~is_pad_BS[:, None, :]
        )
        return x_BTD + seen


class RobustATR(nn.Module):
    """Everything that is trained.

    Args:
        audio_width, text_width: of the encoders' states.
        settings: sizes and probabilities.
    """

    def __init__(self, audio_width: int, text_width: int, settings: RobustSettings) -> None:
        super().__init__()
        self.settings = settings
        self.audio_projection = Projection(audio_width, settings)
        self.text_projection = Projection(text_width, settings)
        self.chunk_query = nn.Parameter(torch.randn(settings.dim) / math.sqrt(settings.dim))
        self.audio_attends = CrossAttention(settings.dim) if settings.cross_modal else None
        self.text_attends = CrossAttention(settings.dim) if settings.cross_modal else None

    def text(self, states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Vectors [B, D], not of unit length, of texts' states [T, W]; and their projected states with the pads."""
        x_BTW, is_pad_BT = pad(states)
        projected = self.text_projection(x_BTW, is_pad_BT)
        return masked_mean(projected, is_pad_BT), projected, is_pad_BT

    def chunks(self, states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors [C, D] of chunks' states [T, W], all chunks of one length; and their projected states [C, T, D]."""
        x_CTW, is_pad_CT = pad(states)
        projected = self.audio_projection(x_CTW, is_pad_CT)
        return masked_mean(projected, is_pad_CT), projected

    def pool(self, vectors_CD: torch.Tensor, counts: Sequence[int], query_BD: torch.Tensor) -> torch.Tensor:
        """[B, D] of chunks, the first `counts[0]` of them the first clip's, asked for by each clip's query."""
        pooled = []
        for own, query in zip(vectors_CD.split(list(counts)), query_BD):
            share = torch.softmax(own @ query / math.sqrt(own.shape[1]), 0)
            pooled.append(share @ own)
        return torch.stack(pooled)

    def audio(self, states: Sequence[torch.Tensor], counts: Sequence[int]) -> torch.Tensor:
        """[B, D] vectors of clips as in inference: the learned query asks."""
        return self.pool(self.chunks(states)[0], counts, self.chunk_query.expand(len(counts), -1))

    def pairs(
        self,
        chunk_states: Sequence[torch.Tensor],
        counts: Sequence[int],
        text_states: Sequence[torch.Tensor],
        uses_learned_B: torch.Tensor,
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Unit vectors of sounds and texts for contrast, and the same behind attention across.

        Args:
            uses_learned_B: bool, where the learned query stands in for the text's vector.
        """
        text_BD, text_BTD, is_pad_BT = self.text(text_states)
        chunks_CD, chunks_CTD = self.chunks(chunk_states)
        query_BD = torch.where(uses_learned_B[:, None], self.chunk_query, text_BD)
        audio_BD = self.pool(chunks_CD, counts, query_BD)
        plain = F.normalize(audio_BD, dim=-1), F.normalize(text_BD, dim=-1)
        if self.audio_attends is None or self.text_attends is None:
            return plain, plain
        sequences, is_pad = pad([own.flatten(0, 1) for own in chunks_CTD.split(list(counts))])
        heard = masked_mean(self.audio_attends(sequences, text_BTD, is_pad_BT), is_pad)
        read = masked_mean(self.text_attends(text_BTD, sequences, is_pad), is_pad_BT)
        return plain, (F.normalize(heard, dim=-1), F.normalize(read, dim=-1))


def pad(states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, T, W] with zeros behind the shorter ones, and where these are, bool [B, T]."""
    x_BTW = nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    lengths = torch.tensor([len(s) for s in states], device=x_BTW.device)
    return x_BTW, torch.arange(x_BTW.shape[1], device=x_BTW.device) >= lengths[:, None]


def masked_mean(x_BTD: torch.Tensor, is_pad_BT: torch.Tensor) -> torch.Tensor:
    """[B, D] means over what is no pad."""
    return x_BTD.masked_fill(is_pad_BT[..., None], 0).sum(1) / (~is_pad_BT).sum(1, keepdim=True)


def save_checkpoint(model: RobustATR, base: Path, folder: Path) -> None:
    """Write a checkpoint that the engine loads: the base's encoders and the trained parts that inference needs."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for file in checkpoint_files(base):
        tensors |= {k: v for k, v in load_file(file).items() if k.startswith(("audio_model.", "text_model."))}
    for name, tensor in model.state_dict().items():
        if name.startswith(("audio_projection.", "text_projection.", "chunk_query")):
            tensors[name] = tensor.detach().float().cpu().contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = read_json(base / "config.json")
    s = model.settings
    projection = dict(
        num_layers=s.num_layers,
        num_heads=s.num_heads,
        mlp_width=s.mlp_width,
        activation=s.activation,
        summary="mean",
        dim=s.dim,
    )
    made = {"model_type": "robust_atr", "projection": projection}
    made |= {name: config[name] for name in ("audio_config", "text_config") if name in config}
    (folder / "config.json").write_text(json.dumps(made, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (base / name).is_file():
            shutil.copy(base / name, folder / name)


def as_tensors(states: Sequence[np.ndarray], device: torch.device | str) -> list[torch.Tensor]:
    """Cached states as float32 tensors."""
    return [torch.from_numpy(np.asarray(s)).to(device, torch.float32) for s in states]
