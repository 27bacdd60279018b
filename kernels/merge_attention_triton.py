"""Triton backend of `kernels.merge_attention`: a program merges all heads of one query.

Memory-bound: reads two outputs, writes one; 3 * N * H * D * itemsize bytes.
"""

import torch
import triton
import triton.language as tl

from .aot import AotCase


@triton.jit
def merge_attention_kernel(
    out1_ptr,
    lse1_ptr,
    out2_ptr,
    lse2_ptr,
    out_ptr,
    lse_ptr,
    stride_1_row,
    stride_1_head,
    stride_2_row,
    stride_2_head,
    stride_l1_head,
    stride_l1_row,
    stride_l2_head,
    stride_l2_row,
    N,
    H: tl.constexpr,
    D: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    heads = tl.arange(0, BLOCK_H)
    some = heads < H
    minus_inf = float("-inf")
    lse1 = tl.load(lse1_ptr + heads * stride_l1_head + row * stride_l1_row, mask=some, other=minus_inf)
    lse2 = tl.load(lse2_ptr + heads * stride_l2_head + row * stride_l2_row, mask=some, other=minus_inf)
    top = tl.maximum(lse1, lse2)
    base = tl.where(top == minus_inf, 0.0, top)
    weight1, weight2 = tl.exp(lse1 - base), tl.exp(lse2 - base)
    total = tl.where(top == minus_inf, 1.0, weight1 + weight2)
    tl.store(lse_ptr + heads.to(tl.int64) * N + row, top + tl.log(total), mask=some)

    cols = tl.arange(0, BLOCK_D)[None, :]
    mask = some[:, None] & (cols < D)
    # A part without keys is not read: it may hold anything.
    mask1, mask2 = mask & (lse1 > minus_inf)[:, None], mask & (lse2 > minus_inf)[:, None]
    out1 = tl.load(out1_ptr + row * stride_1_row + heads[:, None] * stride_1_head + cols, mask=mask1, other=0.0)
    out2 = tl.load(out2_ptr + row * stride_2_row + heads[:, None] * stride_2_head + cols, mask=mask2, other=0.0)
    out = out1.to(tl.float32) * (weight1 / total)[:, None] + out2.to(tl.float32) * (weight2 / total)[:, None]
    tl.store(out_ptr + (row * H + heads[:, None]) * D + cols, out.to(out_ptr.dtype.element_ty), mask=mask)


def merge_attention_triton(
    out1_NHD: torch.Tensor, lse1_HN: torch.Tensor, out2_NHD: torch.Tensor, lse2_HN: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch on arguments that `kernels.merge_attention` has checked."""
    N, H, D = out1_NHD.shape
    out_NHD = torch.empty((N, H, D), dtype=out1_NHD.dtype, device=out1_NHD.device)
    lse_HN = torch.empty((H, N), dtype=torch.float32, device=out1_NHD.device)
    if N and H:
        merge_attention_kernel[(N,)](
            out1_NHD,
            lse1_HN,
            out2_NHD,
            lse2_HN,
            out_NHD,
            lse_HN,
            *out1_NHD.stride()[:2],
            *out2_NHD.stride()[:2],
            *lse1_HN.stride(),
            *lse2_HN.stride(),
            N,
            H=H,
            D=D,
            BLOCK_H=triton.next_power_of_2(H),
            BLOCK_D=triton.next_power_of_2(max(D, 1)),
            num_warps=4,
        )
    return out_NHD, lse_HN


_POINTERS = {"out1_ptr": "*bf16", "out2_ptr": "*bf16", "out_ptr": "*bf16"}
_POINTERS |= {"lse1_ptr": "*fp32", "lse2_ptr": "*fp32", "lse_ptr": "*fp32"}
_STRIDES = {n: "i32" for n in ("stride_1_row", "stride_1_head", "stride_2_row", "stride_2_head")}
_LSE_STRIDES = {n: "i32" for n in ("stride_l1_head", "stride_l1_row", "stride_l2_head", "stride_l2_row", "N")}
AOT_CASES = [
    AotCase(
        "merge attention H28 D128",
        merge_attention_kernel,
        _POINTERS | _STRIDES | _LSE_STRIDES,
        {"H": 28, "D": 128, "BLOCK_H": 32, "BLOCK_D": 128},
        divisible=(*_POINTERS, *_STRIDES),
    )
]
