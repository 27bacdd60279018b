"""RoBERTa over packed sentences.

    x = norm(word + position + type);   x = norm1(x + attention(x));   x = norm2(x + mlp(x))

Positions start at the padding id plus one in every sentence.

Source: spec/recipes.md E.3; checked against transformers' RobertaModel and ClapTextModel.
Letters: N rows, W width, H heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import ModelError
from .attention import packed_attention
from .layers import LayerNorm, Linear, frozen
from .packed import Segments
from .weights import Weights


@dataclass(frozen=True, slots=True)
class RobertaConfig:
    """Sizes of the tower."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    vocab_size: int
    max_positions: int
    num_types: int
    pad_id: int
    eps: float

    @classmethod
    def read(cls, config: dict[str, Any], where: str) -> "RobertaConfig":
        """From RoBERTa's config.json or a CLAP checkpoint's `text_config`; ClapTextConfig's defaults for the rest.

        Raises:
            ModelError: another activation or kind of position.
        """
        wanted = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
        wrong = {key: config[key] for key, value in wanted.items() if config.get(key, value) != value}
        if wrong:
            raise ModelError(f"{where}: the text config has {wrong}, wanted {wanted}")

        def get(key: str, default: int) -> int:
            return int(config.get(key, default))

        return cls(
            width=get("hidden_size", 768),
            num_layers=get("num_hidden_layers", 12),
            num_heads=get("num_attention_heads", 12),
            mlp_width=get("intermediate_size", 3072),
            vocab_size=get("vocab_size", 50265),
            max_positions=get("max_position_embeddings", 514),
            num_types=get("type_vocab_size", 1),
            pad_id=get("pad_token_id", 1),
            eps=float(config.get("layer_norm_eps", 1e-12)),
        )


class RobertaLayer(nn.Module):
    def __init__(self, weights: Weights, name: str, config: RobertaConfig) -> None:
        super().__init__()
        width, attn = config.width, f"{name}.attention"
        self.num_heads = config.num_heads
        parts = [f"{attn}.self.{part}" for part in ("query", "key", "value")]
        self.qkv = Linear.load_stacked(weights, parts, width, [width] * 3)
        self.out = Linear.load(weights, f"{attn}.output.dense", width, width)
        self.norm1 = LayerNorm.load(weights, f"{attn}.output.LayerNorm", width, config.eps)
        self.fc1 = Linear.load(weights, f"{name}.intermediate.dense", width, config.mlp_width)
        self.fc2 = Linear.load(weights, f"{name}.output.dense", config.mlp_width, width)
        self.norm2 = LayerNorm.load(weights, f"{name}.output.LayerNorm", width, config.eps)

    def forward(self, x_NW: torch.Tensor, segments: Segments) -> torch.Tensor:
        q, k, v = self.qkv(x_NW).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        attended = packed_attention(q, k, v, segments, causal=False, scale=q.shape[-1] ** -0.5)
        x_NW = self.norm1(x_NW + self.out(attended.flatten(1)))
        return self.norm2(x_NW + self.fc2(F.gelu(self.fc1(x_NW))))


class Roberta(nn.Module):
    """From packed token ids to packed states.

    Args:
        weights: gives `text_tower.*`; the pooler is read where there is one.
        config: sizes.
    """

    def __init__(self, weights: Weights, config: RobertaConfig) -> None:
        super().__init__()
        self.config = config
        name, width = "text_tower.embeddings", config.width
        self.words = frozen(weights.take(f"{name}.word_embeddings.weight", config.vocab_size, width))
        positions = weights.take(f"{name}.position_embeddings.weight", config.max_positions, width)
        types = weights.take(f"{name}.token_type_embeddings.weight", config.num_types, width)
        # Every token has type 0.
        self.positions = frozen(positions[config.pad_id + 1 :] + types[0])
        self.norm = LayerNorm.load(weights, f"{name}.LayerNorm", width, config.eps)
        self.layers = nn.ModuleList(
            RobertaLayer(weights, f"text_tower.encoder.layer.{i}", config) for i in range(config.num_layers)
        )
        has_pooler = "text_tower.pooler.dense.weight" in weights
        self.pooler = Linear.load(weights, "text_tower.pooler.dense", width, width) if has_pooler else None

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sentence, with those that begin and end it."""
        return len(self.positions)

    def forward(self, token_ids_N: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[N, W] states of the rows of all sentences."""
        x_NW = F.embedding(token_ids_N, self.words) + self.positions[segments.positions(token_ids_N.device)]
        x_NW = self.norm(x_NW)
        for layer in self.layers:
            x_NW = layer(x_NW, segments)
        return x_NW
