"""Triton backend of `kernels.rotary`: a program rotates all heads of one query row and of one key row.

Memory-bound: reads and writes q and k once, and the table once.
"""

import torch
import triton
import triton.language as tl

from .aot import AotCase


@triton.jit
def rotate_row(
    x_ptr,
    y_ptr,
    cos_ptr,
    sin_ptr,
    row,
    table_row,
    stride_row,
    stride_head,
    HEADS: tl.constexpr,
    P: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    """Rotate HEADS heads of one row; x_ptr is strided, y_ptr contiguous."""
    heads = tl.arange(0, BLOCK_H)[:, None]
    cols = tl.arange(0, BLOCK_P)[None, :]
    cos = tl.load(cos_ptr + table_row * P + cols, mask=cols < P, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + table_row * P + cols, mask=cols < P, other=0.0).to(tl.float32)
    mask = (heads < HEADS) & (cols < P)
    source = x_ptr + row * stride_row + heads * stride_head + cols
    first = tl.load(source, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(source + P, mask=mask, other=0.0).to(tl.float32)
    target = y_ptr + (row * HEADS + heads) * (2 * P) + cols
    tl.store(target, (first * cos - second * sin).to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(target + P, (second * cos + first * sin).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["M", "N"])
def rotary_kernel(
    q_ptr,
    k_ptr,
    cos_ptr,
    sin_ptr,
    rows_ptr,
    q_out_ptr,
    k_out_ptr,
    stride_q_row,
    stride_q_head,
    stride_k_row,
    stride_k_head,
    M,
    N,
    H: tl.constexpr,
    G: tl.constexpr,
    P: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_P: tl.constexpr,
    HAS_ROWS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    if row < M:
        table_row = row
        if HAS_ROWS:
            table_row = tl.load(rows_ptr + row)
        rotate_row(
            q_ptr, q_out_ptr, cos_ptr, sin_ptr, row, table_row, stride_q_row, stride_q_head, H, P, BLOCK_H, BLOCK_P
        )
    if row < N:
        rotate_row(k_ptr, k_out_ptr, cos_ptr, sin_ptr, row, row, stride_k_row, stride_k_head, G, P, BLOCK_G, BLOCK_P)


def rotary_triton(
    q_MHD: torch.Tensor,
    k_NGD: torch.Tensor,
    cos_NP: torch.Tensor,
    sin_NP: torch.Tensor,
    q_rows_M: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch on arguments that `kernels.rotary` has checked."""
    (M, H, D), (N, G, _) = q_MHD.shape, k_NGD.shape
    q_out = torch.empty((M, H, D), dtype=q_MHD.dtype, device=q_MHD.device)
    k_out = torch.empty((N, G, D), dtype=k_NGD.dtype, device=k_NGD.device)
    if max(M, N) and D:
        rotary_kernel[(max(M, N),)](
            q_MHD,
            k_NGD,
            cos_NP.contiguous(),
            sin_NP.contiguous(),
            q_MHD if q_rows_M is None else q_rows_M,
            q_out,
            k_out,
            *q_MHD.stride()[:2],
            *k_NGD.stride()[:2],
            M,
            N,
            H=H,
            G=G,
            P=D // 2,
            BLOCK_H=triton.next_power_of_2(H),
            BLOCK_G=triton.next_power_of_2(G),
            BLOCK_P=triton.next_power_of_2(D // 2),
            HAS_ROWS=q_rows_M is not None,
            num_warps=4,
        )
    return q_out, k_out


_POINTERS = {n: "*bf16" for n in ("q_ptr", "k_ptr", "cos_ptr", "sin_ptr", "q_out_ptr", "k_out_ptr")} | {
    "rows_ptr": "*i64"
}
_STRIDES = {n: "i32" for n in ("stride_q_row", "stride_q_head", "stride_k_row", "stride_k_head")}
AOT_CASES = [
    AotCase(
        f"rotary H{heads} G4 D128",
        rotary_kernel,
        _POINTERS | _STRIDES | {"M": "i32", "N": "i32"},
        {"H": heads, "G": 4, "P": 64, "BLOCK_H": 32, "BLOCK_G": 4, "BLOCK_P": 64, "HAS_ROWS": True},
        divisible=(*_POINTERS, *_STRIDES),
    )
    for heads in (28, 32)
]
