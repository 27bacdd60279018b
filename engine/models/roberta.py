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
from .layers import LayerNorm, Linear, PostNormLayer, PostNormNames, frozen
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


_NAMES = PostNormNames(
    out="attention.output.dense",
    norm1="attention.output.LayerNorm",
    fc1="intermediate.dense",
    fc2="output.dense",
    norm2="output.LayerNorm",
)


class RobertaLayer(PostNormLayer):
    def __init__(self, weights: Weights, name: str, config: RobertaConfig) -> None:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        super().__init__(
            weights,
            name,
            _NAMES,
            Linear.load_stacked(weights, parts, config.width, [config.width] * 3),
            width=config.width,
            num_heads=config.num_heads,
            mlp_width=config.mlp_width,
            eps=config.eps,
            activation=F.gelu,
        )


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
