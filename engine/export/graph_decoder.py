"""The whole prefill of a multimodal LLM over a padded batch: token ids and audio rows in, vectors out.

    x[b, t] = audio_rows[audio_index[b, t]] where that is 0 or more, else the embedding of token_ids[b, t]
    decoder layers, causal or not -> final norm -> pooling over the first lengths[b] rows -> head -> unit length

Rows past a sequence's length are computed and never seen. The weights are those of the model, not copies.

Source: models/decoder.py and pooling.py in padded form; checked against the Embedder.
Letters: B sequences, T rows, A audio rows, W width, H heads, G key-value heads, D head width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.rmsnorm import rmsnorm_reference
from ...kernels.rotary import rotary_table, rotate_reference
from ...kernels.swiglu import swiglu_reference
from ..embedder import Embedder
from ..models.decoder import DecoderLayer
from ..models.heads import Head
from ..models.layers import RMSNorm
from ..models.mllm import AudioLM
from .graph import Graph, attend

_LONGEST, _MOST, _TOKENS = 8192, 256, 65536


class PrefillEmbedder(nn.Module):
    """An Embedder's decoder, pooling and heads.

    Args:
        embedder: around an AudioLM.
    """

    inverse_frequencies: torch.Tensor

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        model = embedder.model
        assert isinstance(model, AudioLM)
        recipe = embedder.recipe
        self.decoder = model.decoder
        self.causal, self.pooling = recipe.attention == "causal", recipe.pooling
        self.normalize, self.normalize_before_head = recipe.normalize, recipe.normalize_before_head
        self.audio_head, self.text_head = embedder.audio_head, embedder.text_head
        self.two_heads = recipe.audio_head != recipe.text_head

    def forward(
        self,
        token_ids_BT: torch.Tensor,
        audio_rows_AW: torch.Tensor,
        audio_index_BT: torch.Tensor,
        lengths_B: torch.Tensor,
        contents_B2: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Vectors by the head of sounds and by that of sentences, or one where they share theirs.

        Args:
            token_ids_BT: int64; anything past a sequence's length.
            audio_rows_AW: float32, at least one row, which may go unused.
            audio_index_BT: int64, -1 where a token stands.
            lengths_B: int64, 1 to T.
            contents_B2: int64, first row and end of the content; for pooling "mean-content" alone.
        """
        table = self.decoder.embed_tokens
        x = F.embedding(token_ids_BT, table)
        rows = F.embedding(audio_index_BT.clamp(min=0), audio_rows_AW.to(table.dtype))
        x = torch.where((audio_index_BT >= 0)[:, :, None], rows, x)
        positions_T = torch.arange(x.shape[1], device=x.device)
        cos, sin = rotary_table(positions_T, self.decoder.inverse_frequencies, x.dtype)
        if self.causal:
            mask = (positions_T[None, :] <= positions_T[:, None])[None, None]
        else:
            mask = (positions_T[None, :] < lengths_B[:, None])[:, None, None]
        for layer in self.decoder.layers:
            x = _layer(layer, x, cos, sin, mask)  # type: ignore[arg-type]
        pooled_BW = self._pooled(x, positions_T, lengths_B, contents_B2)
        vectors = self._headed(pooled_BW, self.audio_head)
        return (vectors, self._headed(pooled_BW, self.text_head)) if self.two_heads else (vectors,)

    def _pooled(
        self, x_BTW: torch.Tensor, positions_T: torch.Tensor, lengths_B: torch.Tensor, contents_B2: torch.Tensor | None
    ) -> torch.Tensor:
        norm: RMSNorm = self.decoder.norm
        if self.pooling == "last":
            last = (lengths_B - 1)[:, None, None].expand(-1, 1, x_BTW.shape[2])
            return rmsnorm_reference(x_BTW.gather(1, last)[:, 0], norm.weight, norm.eps).float()
        first, end = torch.zeros_like(lengths_B), lengths_B
        if contents_B2 is not None:
            first, end = contents_B2.unbind(1)
        kept_BT = (positions_T[None] >= first[:, None]) & (positions_T[None] < end[:, None])
        states = rmsnorm_reference(x_BTW, norm.weight, norm.eps).float()
        total_BW = torch.where(kept_BT[:, :, None], states, 0.0).sum(1)
        return total_BW / (end - first)[:, None].float()

    def _headed(self, pooled_BW: torch.Tensor, head: Head | None) -> torch.Tensor:
        if head is not None:
            pooled_BW = head(F.normalize(pooled_BW, dim=-1) if self.normalize_before_head else pooled_BW)
        return F.normalize(pooled_BW, dim=-1) if self.normalize else pooled_BW


def _layer(
    layer: DecoderLayer, x_BTW: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    c = layer.config
    qkv = layer.qkv(rmsnorm_reference(x_BTW, layer.norm1.weight, layer.norm1.eps)).unflatten(-1, (-1, c.head_width))
    q, k, v = qkv.split([c.num_heads, c.num_kv_heads, c.num_kv_heads], 2)
    attended = attend(rotate_reference(q, cos, sin), rotate_reference(k, cos, sin), v, mask, layer.scale)
    x_BTW = x_BTW + layer.o(attended)
    y = rmsnorm_reference(x_BTW, layer.norm2.weight, layer.norm2.eps)
    return x_BTW + layer.down(swiglu_reference(layer.gate_up(y)))


def prefill_graph(embedder: Embedder) -> Graph:
    """The graph of `PrefillEmbedder`."""
    module = PrefillEmbedder(embedder).eval()
    width, device = module.decoder.config.width, module.decoder.embed_tokens.device
    batch, rows, audio = 2, 7, 5
    ids = torch.zeros(batch, rows, dtype=torch.int64, device=device)
    inputs = {
        "token_ids": ids,
        "audio_rows": torch.zeros(audio, width, device=device),
        "audio_index": torch.full_like(ids, -1),
        "lengths": torch.full((batch,), rows, dtype=torch.int64, device=device),
        "contents": torch.tensor([[1, rows - 1]] * batch, device=device),
    }
    lengths = {
        "token_ids": {0: "batch", 1: "rows"},
        "audio_rows": {0: "audio_tokens"},
        "audio_index": {0: "batch", 1: "rows"},
        "lengths": {0: "batch"},
        "contents": {0: "batch"},
    }
    if module.pooling != "mean-content":
        del inputs["contents"], lengths["contents"]
    outputs = ("audio_vectors", "text_vectors") if module.two_heads else ("vectors",)
    ranges = {"batch": (1, 8, _MOST), "rows": (2, 256, _LONGEST), "audio_tokens": (1, 2048, _TOKENS)}
    return Graph("embedder", module, inputs, lengths, ranges, outputs)
