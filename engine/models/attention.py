"""Attention inside each sequence of a packed batch.

    out[i] = softmax(scale q[i] . k[j]) v[j]   over the j of i's own sequence (j <= i if causal)

On CUDA one varlen kernel serves the batch. On the CPU every run of equal lengths is one dense call, so that no mask over
the batch is ever built and a row's result cannot depend on its neighbours.

Source: spec/models.md section 4 (measured: a loop over segments beats padding, block-diagonal masks and flex on CPUs).
"""

import inspect
from typing import Any

import torch
import torch.nn.functional as F

from .packed import Segments


def packed_attention(
    q_NHD: torch.Tensor,
    k_NGD: torch.Tensor,
    v_NGD: torch.Tensor,
    segments: Segments,
    *,
    causal: bool,
    scale: float,
    last_only: bool = False,
) -> torch.Tensor:
    """Attend within each sequence.

    Args:
        q_NHD: [N, H, D]; with `last_only` [len(segments), H, D], the query of each sequence's last row.
        k_NGD, v_NGD: [N, G, D]; H is a multiple of G (grouped heads).
        segments: the cut of the N rows.
        causal: row i sees rows j <= i of its sequence.
        scale: factor on q . k.
        last_only: only the last row of each sequence asks.

    Returns: [rows of q, H, D], dtype of q.
    """
    if q_NHD.is_cuda and q_NHD.dtype in (torch.float16, torch.bfloat16):
        asking = segments.single_rows if last_only else segments
        return varlen(q_NHD, k_NGD, v_NGD, asking, segments, causal=causal and not last_only, scale=scale)[0]
    out_NHD = torch.empty_like(q_NHD)
    grouped = q_NHD.shape[1] != k_NGD.shape[1]
    first = 0
    for start, count, length in segments.runs():
        stop, per = start + count * length, 1 if last_only else length
        if length:
            q = q_NHD[first : first + count * per].unflatten(0, (count, per)).transpose(1, 2)
            k, v = (x[start:stop].unflatten(0, (count, length)).transpose(1, 2) for x in (k_NGD, v_NGD))
            attended = F.scaled_dot_product_attention(
                q, k, v, is_causal=causal and not last_only, scale=scale, enable_gqa=grouped
            )
            out_NHD[first : first + count * per] = attended.transpose(1, 2).flatten(0, 1)
        first += count * per
    return out_NHD


def self_attention(qkv_NE: torch.Tensor, num_heads: int, segments: Segments) -> torch.Tensor:
    """Every row over its whole sequence, of a fused product [N, 3 heads D]; [N, heads D]."""
    q, k, v = qkv_NE.unflatten(-1, (3, num_heads, -1)).unbind(1)
    return packed_attention(q, k, v, segments, causal=False, scale=q.shape[-1] ** -0.5).flatten(1)


def varlen(
    q_NHD: torch.Tensor,
    k_PGD: torch.Tensor,
    v_PGD: torch.Tensor,
    asking: Segments,
    seen: Segments,
    *,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """torch's varlen kernel on CUDA in half precision; its arguments changed between torch 2.11 and 2.13.

    Args:
        q_NHD, k_PGD, v_PGD: packed queries, and the packed keys and values they see.
        asking, seen: the cuts of the N and the P rows; piece i of one sees piece i of the other.
        causal: the last row of each piece sees all of its keys, the one before it one less.

    Returns: [N, H, D] in the dtype of q, and the log-sum-exps [H, N] float32.
    """
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    known = inspect.signature(varlen_attn).parameters
    extra: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in known and q_NHD.shape[1] != k_PGD.shape[1] else {}
    out_NHD, lse_HN = varlen_attn(
        q_NHD,
        k_PGD,
        v_PGD,
        asking.cu_seqlens(q_NHD.device),
        seen.cu_seqlens(q_NHD.device),
        asking.max_length,
        seen.max_length,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=(-1, 0) if causal else (-1, -1),
        **extra,
    )
    return out_NHD, lse_HN
