"""The layers in which every text is asked of every sound.

    a text's token sees the whole sound and its own text up to itself, at the positions that it has behind that sound
    a sound's token sees the sound up to itself, so that its keys and values serve all texts

Texts run side by side with others of near length. In the last layer only a text's last token goes on after keys and values.

Source: own, over the modules of transformers' Llama and Qwen2 layers.
Letters: S sounds, T texts, L tokens of the longest, W width, H heads, G key-value heads, D head width, J = H / G.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

# Texts that are padded to the longest of them.
_TEXTS_A_RUN = 8


@dataclass(frozen=True, eq=False, slots=True)
class Heard:
    """A sound as it goes into the first joint layer: [n, W] states, their positions, and the position behind its last."""

    states_LW: np.ndarray
    positions_L: np.ndarray
    num_tokens: int

    @classmethod
    def whole(cls, states_LW: np.ndarray) -> "Heard":
        return cls(states_LW, np.arange(len(states_LW)), len(states_LW))

    def thinned(self, max_tokens: int | None, rng: np.random.Generator) -> "Heard":
        """At most `max_tokens` of its tokens, drawn, the first and the last among them."""
        if max_tokens is None or len(self.states_LW) <= max_tokens:
            return self
        inner = 1 + rng.choice(len(self.states_LW) - 2, max_tokens - 2, replace=False)
        kept = np.sort(np.concatenate([[0, len(self.states_LW) - 1], inner]))
        return Heard(self.states_LW[kept], self.positions_L[kept], self.num_tokens)


@dataclass(frozen=True, slots=True)
class _Sounds:
    """What texts see of the sounds: keys and values [S, L, G, D] of each layer, what of it is padding, where texts begin."""

    kv: list[tuple[torch.Tensor, torch.Tensor]]
    is_padding_SL: torch.Tensor
    lengths_S: torch.Tensor


class JointLayers:
    """The layers of a transformers decoder from `first` on, and its final norm.

    Args:
        decoder: in the layout of Llama and Qwen2.
        first: of the layers in which texts see sounds.
    """

    def __init__(self, decoder: Any, first: int) -> None:
        self._decoder, self._layers = decoder, decoder.layers[first:]
        c = decoder.config
        self._num_heads, self._num_kv_heads = c.num_attention_heads, c.num_key_value_heads
        self._dtype = decoder.norm.weight.dtype

    def __call__(self, sounds: Sequence[Heard], texts: Sequence[np.ndarray]) -> torch.Tensor:
        """[S, T, W] the state of each text's last token behind each sound, after the final norm."""
        heard = self._hear(sounds)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        runs = [order[i : i + _TEXTS_A_RUN] for i in range(0, len(order), _TEXTS_A_RUN)]
        last_STW = torch.cat([self._ask(heard, [texts[i] for i in run]) for run in runs], 1)
        return self._decoder.norm(last_STW[:, np.argsort(order)])

    def _hear(self, sounds: Sequence[Heard]) -> _Sounds:
        x_SLW, lengths_S = self._padded([sound.states_LW for sound in sounds])
        positions = torch.zeros(x_SLW.shape[:2], dtype=torch.long)
        for row, sound in zip(positions, sounds):
            row[: len(sound.positions_L)] = torch.from_numpy(sound.positions_L)
        rotary = self._rotary(x_SLW, positions)
        kv = []
        for layer in self._layers:
            q, k, v = self._project(layer, x_SLW, rotary)
            kv.append((k, v))
            if layer is not self._layers[-1]:
                q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
                attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                x_SLW = self._finish(layer, x_SLW, attended.transpose(1, 2).flatten(2))
        is_padding = torch.arange(x_SLW.shape[1]) >= lengths_S[:, None]
        starts = torch.tensor([sound.num_tokens for sound in sounds])
        return _Sounds(kv, is_padding.to(x_SLW.device), starts)

    def _ask(self, heard: _Sounds, texts: Sequence[np.ndarray]) -> torch.Tensor:
        """[S, T, W] of one run of texts, before the final norm."""
        x_TLW, lengths_T = self._padded(texts)
        num_sounds, (num_texts, length) = len(heard.lengths_S), x_TLW.shape[:2]
        rotary = self._rotary(x_TLW, heard.lengths_S[:, None] + torch.arange(length), unsqueeze=1)
        x = x_TLW.expand(num_sounds, *x_TLW.shape)
        unseen_TLL = torch.ones(length, length, dtype=torch.bool).triu(1).expand(num_texts, -1, -1)
        ends_T = (lengths_T - 1).to(x.device)
        for layer, (keys, values) in zip(self._layers, heard.kv):
            q, k, v = self._project(layer, x, rotary)
            if layer is self._layers[-1]:
                each = torch.arange(num_texts)
                q, x = q[:, each, ends_T][:, :, None], x[:, each, ends_T][:, :, None]
                unseen_TLL = unseen_TLL[each, lengths_T - 1][:, None]
            q = q.unflatten(3, (self._num_kv_heads, -1)) * q.shape[-1] ** -0.5
            far = torch.einsum("stlgjd,skgd->stlgjk", q, keys).float()
            near = torch.einsum("stlgjd,stkgd->stlgjk", q, k).float()
            far = far.masked_fill(heard.is_padding_SL[:, None, None, None, None], -torch.inf)
            near = near.masked_fill(unseen_TLL[:, :, None, None].to(near.device), -torch.inf)
            weights = torch.cat([far, near], -1).softmax(-1).to(v.dtype)
            of_sound, of_text = weights.split([far.shape[-1], near.shape[-1]], -1)
            attended = torch.einsum("stlgjk,skgd->stlgjd", of_sound, values)
            attended = attended + torch.einsum("stlgjk,stkgd->stlgjd", of_text, v)
            x = self._finish(layer, x, attended.flatten(3))
        return x[:, :, 0]

    def _padded(self, parts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, L, W] states with zeros behind the shorter ones, and their lengths [B]."""
        x_BLW = torch.zeros(len(parts), max(map(len, parts)), parts[0].shape[1], dtype=self._dtype)
        for row, part in zip(x_BLW, parts):
            row[: len(part)] = torch.from_numpy(np.array(part))
        return x_BLW.to(self._decoder.norm.weight.device), torch.tensor([len(part) for part in parts])

    def _rotary(
        self, x: torch.Tensor, positions_BL: torch.Tensor, unsqueeze: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin [B, L, 1, D], or with a further axis."""
        found = self._decoder.rotary_emb(x, positions_BL.to(x.device))
        cos, sin = (part[..., None, :] for part in found)
        return (cos, sin) if unsqueeze is None else (cos.unsqueeze(unsqueeze), sin.unsqueeze(unsqueeze))

    def _project(
        self, layer: Any, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries [..., L, H, D], keys and values [..., L, G, D], queries and keys rotated."""
        y, attention = layer.input_layernorm(x), layer.self_attn
        q = attention.q_proj(y).unflatten(-1, (self._num_heads, -1))
        k, v = (part(y).unflatten(-1, (self._num_kv_heads, -1)) for part in (attention.k_proj, attention.v_proj))
        cos, sin = (part.to(q.dtype) for part in rotary)
        return _rotated(q, cos, sin), _rotated(k, cos, sin), v

    @staticmethod
    def _finish(layer: Any, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The layer after its attention."""
        x = x + layer.self_attn.o_proj(attended)
        return x + layer.mlp(layer.post_attention_layernorm(x))


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
