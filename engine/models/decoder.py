"""A Llama or Qwen2 decoder over packed sequences, without a language head.

    x += o(attention(rotary(q), rotary(k), v)),  q k v = split(qkv(norm1(x)))
    x += down(silu(gate) * up),                  gate up = split(gate_up(norm2(x)))

The final norm is not applied here: it is fused with the pooling that follows. Positions restart in every sequence, and
with sound and text only, Qwen2.5-Omni's three rotary axes are equal, so plain one-dimensional rotary is exact.

Source: spec/models.md 1.2 and 1.5; checked against transformers' Qwen2 and Llama models.
Letters: N rows, B sequences, W width, H heads, G key-value heads, D head width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.rotary import rotary, rotary_table
from ...kernels.swiglu import swiglu
from .attention import packed_attention
from .config import DecoderConfig
from .layers import Linear, RMSNorm, frozen
from .packed import Segments
from .weights import Weights


class DecoderLayer(nn.Module):
    # As RMSNorm's.
    backend: str | None = None

    def __init__(self, weights: Weights, name: str, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = config.head_width**-0.5
        c, attn, mlp = config, f"{name}.self_attn", f"{name}.mlp"
        q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
        self.norm1 = RMSNorm.load(weights, f"{name}.input_layernorm", c.width, c.rms_eps)
        self.qkv = Linear.load_stacked(
            weights, [f"{attn}.{p}_proj" for p in "qkv"], c.width, [q_width, kv_width, kv_width]
        )
        self.o = Linear.load(weights, f"{attn}.o_proj", q_width, c.width)
        self.norm2 = RMSNorm.load(weights, f"{name}.post_attention_layernorm", c.width, c.rms_eps)
        self.gate_up = Linear.load_stacked(
            weights, [f"{mlp}.gate_proj", f"{mlp}.up_proj"], c.width, [c.mlp_width, c.mlp_width]
        )
        self.down = Linear.load(weights, f"{mlp}.down_proj", c.mlp_width, c.width)

    def forward(
        self,
        x_NW: torch.Tensor,
        table: tuple[torch.Tensor, torch.Tensor],
        segments: Segments,
        causal: bool,
        last_rows: torch.Tensor | None,
    ) -> torch.Tensor:
        """One layer; with `last_rows` [B] only these rows go on after the keys and values are made: returns [B, W]."""
        q, k, v = self.project(x_NW, table, last_rows)
        attended = packed_attention(q, k, v, segments, causal=causal, scale=self.scale, last_only=last_rows is not None)
        return self.finish(x_NW if last_rows is None else x_NW[last_rows], attended)

    def project(
        self, x_NW: torch.Tensor, table: tuple[torch.Tensor, torch.Tensor], last_rows: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries [N, H, D] (or [B, H, D] of `last_rows`), keys and values [N, G, D], queries and keys rotated."""
        c = self.config
        q, k, v = (
            self.qkv(self.norm1(x_NW))
            .unflatten(-1, (-1, c.head_width))
            .split([c.num_heads, c.num_kv_heads, c.num_kv_heads], 1)
        )
        q, k = rotary(q if last_rows is None else q[last_rows], k, *table, q_rows_M=last_rows, backend=self.backend)
        return q, k, v

    def finish(self, x_NW: torch.Tensor, attended_NHD: torch.Tensor) -> torch.Tensor:
        """The layer after its attention."""
        y_NW, x_NW = self.norm2.after_adding(self.o(attended_NHD.flatten(1)), x_NW)
        return x_NW + self.down(swiglu(self.gate_up(y_NW), backend=self.backend))


class Decoder(nn.Module):
    """Token embeddings, layers and the final norm (held, not applied)."""

    inverse_frequencies: torch.Tensor

    def __init__(self, weights: Weights, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = frozen(weights.take("decoder.embed_tokens.weight", config.vocab_size, config.width))
        self.layers = nn.ModuleList(
            DecoderLayer(weights, f"decoder.layers.{i}", config) for i in range(config.num_layers)
        )
        self.norm = RMSNorm.load(weights, "decoder.norm", config.width, config.rms_eps)
        inverse = 1.0 / config.rope_theta ** (
            torch.arange(0, config.head_width, 2, dtype=torch.float32) / config.head_width
        )
        self.register_buffer("inverse_frequencies", inverse.to(self.embed_tokens.device), persistent=False)

    def embed(self, token_ids_N: torch.Tensor) -> torch.Tensor:
        return F.embedding(token_ids_N, self.embed_tokens)

    def forward(
        self, x_NW: torch.Tensor, segments: Segments, *, causal: bool = True, last_only: bool = False
    ) -> torch.Tensor:
        """Run the layers on packed rows.

        Args:
            x_NW: [N, W] embeddings of tokens and sounds.
            segments: the cut of the N rows; with last_only, what is given back for an empty sequence means nothing.
            causal: False lets every row see its whole sequence.
            last_only: give back only each sequence's last row; the last layer then computes nothing else.

        Returns: [N, W] (or [B, W]) before the final norm.
        """
        table = self.rotary(segments.positions(x_NW.device), x_NW.dtype)
        last_rows = segments.last_rows(x_NW.device) if last_only else None
        for layer in self.layers:
            x_NW = layer(x_NW, table, segments, causal, last_rows if layer is self.layers[-1] else None)
        return x_NW

    def rotary(self, positions_N: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin [N, D / 2] of every row's position, computed in float32."""
        return rotary_table(positions_N, self.inverse_frequencies, dtype)
