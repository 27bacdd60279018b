"""Attention pooling of chunk vectors by one learned query: a long clip from its pieces.

    y[b] = sum_c softmax_c(chunk[c] . query / sqrt(D)) chunk[c]    over the chunks c of clip b

Source: Robust-ATR's chunk pooling (the form of the score is not published; scaled dot product here). Beside this file:
attention_pool_triton.py.
"""

import torch

from ..errors import InputError
from .backend import pick
from .checks import FLOATS, INTEGERS, check_tensor

# C chunks, B clips, D width.


def attention_pool(
    chunks_CD: torch.Tensor, cu_chunks: torch.Tensor, query_D: torch.Tensor, *, backend: str | None = None
) -> torch.Tensor:
    """Pool the chunks of every clip.

    Args:
        chunks_CD: [C, D] float32, float16 or bfloat16; rows may be strided.
        cu_chunks: [B + 1] int32 or int64, device of chunks: 0, the ends of the clips, C. No clip is empty.
        query_D: [D] float32, the learned query.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: [B, D] float32.
    Raises:  InputError: an argument of the wrong kind; on the CPU also cu_chunks that do not rise from 0 to C (on CUDA the
        vector of an empty clip is NaN).
    """
    check_tensor("attention_pool", "chunks_CD", chunks_CD, ("C", "D"), FLOATS)
    C, D = chunks_CD.shape
    check_tensor("attention_pool", "cu_chunks", cu_chunks, ("B + 1",), INTEGERS, chunks_CD.device)
    check_tensor("attention_pool", "query_D", query_D, (D,), (torch.float32,), chunks_CD.device)
    if not len(cu_chunks):
        raise InputError("attention_pool: cu_chunks must hold at least the number 0, got no element")
    if chunks_CD.device.type == "cpu":
        if int(cu_chunks[0]) != 0 or int(cu_chunks[-1]) != C or bool((cu_chunks.diff() < 1).any()):
            raise InputError(f"attention_pool: cu_chunks must rise strictly from 0 to {C}, got {cu_chunks.tolist()}")
    if pick(backend, chunks_CD) == "triton":
        from .attention_pool_triton import attention_pool_triton

        with torch.cuda.device_of(chunks_CD):
            return attention_pool_triton(chunks_CD, cu_chunks, query_D)
    return attention_pool_reference(chunks_CD, cu_chunks, query_D)


def attention_pool_reference(chunks_CD: torch.Tensor, cu_chunks: torch.Tensor, query_D: torch.Tensor) -> torch.Tensor:
    """In float32, or in float64 for a float64 query."""
    wide_CD = chunks_CD.to(query_D.dtype)
    scores_C = wide_CD @ query_D * query_D.shape[0] ** -0.5
    ends = cu_chunks.tolist()
    pooled = [scores_C[a:b].softmax(0) @ wide_CD[a:b] for a, b in zip(ends[:-1], ends[1:])]
    return torch.stack(pooled) if pooled else wide_CD.new_empty((0, query_D.shape[0]))
