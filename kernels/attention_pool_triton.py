"""Triton backend of `kernels.attention_pool`: a program pools the chunks of one clip with a running softmax.

Memory-bound: reads C * D elements once.
"""

import torch
import triton
import triton.language as tl

from ..errors import InputError
from .aot import AotCase

# The running mean of a clip lives in registers.
MAX_D = 8192


@triton.jit
def attention_pool_kernel(
    chunks_ptr, cu_ptr, query_ptr, out_ptr, stride_chunks, D, scale, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr
):
    clip = tl.program_id(0).to(tl.int64)
    start = tl.load(cu_ptr + clip).to(tl.int64)
    stop = tl.load(cu_ptr + clip + 1).to(tl.int64)
    cols = tl.arange(0, BLOCK_D)
    query = tl.load(query_ptr + cols, mask=cols < D, other=0.0)
    total = tl.zeros((BLOCK_D,), tl.float32)
    top = tl.full((), float("-inf"), tl.float32)
    length = tl.full((), 0.0, tl.float32)
    for begin in range(start, stop, BLOCK_C):
        rows = begin + tl.arange(0, BLOCK_C)
        mask = (rows < stop)[:, None] & (cols < D)[None, :]
        chunks = tl.load(chunks_ptr + rows[:, None] * stride_chunks + cols[None, :], mask=mask, other=0.0)
        chunks = chunks.to(tl.float32)
        scores = tl.where(rows < stop, tl.sum(chunks * query[None, :], 1) * scale, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, 0))
        weights = tl.exp(scores - new_top)
        shrink = tl.exp(top - new_top)
        total = total * shrink + tl.sum(chunks * weights[:, None], 0)
        length = length * shrink + tl.sum(weights, 0)
        top = new_top
    mean = tl.where(length > 0, total / tl.where(length > 0, length, 1.0), float("nan"))
    tl.store(out_ptr + clip * D + cols, mean, mask=cols < D)


def attention_pool_triton(chunks_CD: torch.Tensor, cu_chunks: torch.Tensor, query_D: torch.Tensor) -> torch.Tensor:
    """Launch on arguments that `kernels.attention_pool` has checked.

    Raises:
        InputError: D > MAX_D.
    """
    D, B = chunks_CD.shape[1], len(cu_chunks) - 1
    if D > MAX_D:
        raise InputError(f"attention_pool: chunks_CD is {D} wide, the Triton backend takes up to {MAX_D}")
    out_BD = torch.empty((B, D), dtype=torch.float32, device=chunks_CD.device)
    if B and D:
        block = triton.next_power_of_2(D)
        attention_pool_kernel[(B,)](
            chunks_CD,
            cu_chunks.contiguous(),
            query_D,
            out_BD,
            chunks_CD.stride(0),
            D,
            D**-0.5,
            BLOCK_C=rows_at_once(block),
            BLOCK_D=block,
            num_warps=warps_of(block),
        )
    return out_BD


def rows_at_once(block: int) -> int:
    return min(max(8192 // block, 1), 8)


def warps_of(block: int) -> int:
    return 8 if block > 512 else 4


def _aot_case(dtype: str, block: int) -> AotCase:
    pointers = {"chunks_ptr": f"*{dtype}", "cu_ptr": "*i32", "query_ptr": "*fp32", "out_ptr": "*fp32"}
    return AotCase(
        f"attention pool {dtype} D{block}",
        attention_pool_kernel,
        pointers | {"stride_chunks": "i32", "D": "i32", "scale": "fp32"},
        {"BLOCK_C": rows_at_once(block), "BLOCK_D": block},
        num_warps=warps_of(block),
        divisible=(*pointers, "stride_chunks", "D"),
    )


AOT_CASES = [_aot_case("fp32", 512), _aot_case("bf16", 4096), _aot_case("fp32", MAX_D)]
