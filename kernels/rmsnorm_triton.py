"""Triton backend of `kernels.rmsnorm`: a program normalises one row, held whole in registers.

Memory-bound: reads x (and the residual) once, writes y (and the sum) once; 2 or 4 * N * W * itemsize bytes.
"""

import torch
import triton
import triton.language as tl

from ..errors import InputError
from .aot import AotCase

# A row lives in the registers of at most 16 warps; wider rows would spill.
MAX_W = 16384


@triton.jit
def rmsnorm_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    y_ptr,
    sum_ptr,
    stride_x,
    stride_residual,
    W,
    eps,
    BLOCK_W: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_W)
    mask = cols < W
    x = tl.load(x_ptr + row * stride_x + cols, mask=mask, other=0.0)
    if HAS_RESIDUAL:
        residual = tl.load(residual_ptr + row * stride_residual + cols, mask=mask, other=0.0)
        x = (x.to(tl.float32) + residual.to(tl.float32)).to(y_ptr.dtype.element_ty)
        tl.store(sum_ptr + row * W + cols, x, mask=mask)
    wide = x.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 0) / W + eps)
    normed = (wide * scale).to(y_ptr.dtype.element_ty).to(tl.float32)
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * W + cols, (normed * weight).to(y_ptr.dtype.element_ty), mask=mask)


def rmsnorm_triton(
    x_NW: torch.Tensor, residual_NW: torch.Tensor | None, weight_W: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch on arguments that `kernels.rmsnorm` has checked; gives (y, sum), the sum being x without a residual.

    Raises:
        InputError: W > MAX_W.
    """
    N, W = x_NW.shape
    if W > MAX_W:
        raise InputError(f"rmsnorm: x_NW is {W} wide, the Triton backend takes up to {MAX_W}")
    y_NW = torch.empty((N, W), dtype=x_NW.dtype, device=x_NW.device)
    sum_NW = x_NW if residual_NW is None else torch.empty_like(y_NW)
    residual = x_NW if residual_NW is None else residual_NW
    if N and W:
        block = triton.next_power_of_2(W)
        rmsnorm_kernel[(N,)](
            x_NW,
            residual,
            weight_W,
            y_NW,
            sum_NW,
            x_NW.stride(0),
            residual.stride(0),
            W,
            eps,
            BLOCK_W=block,
            HAS_RESIDUAL=residual_NW is not None,
            num_warps=warps_of_row(block),
        )
    return y_NW, sum_NW


def warps_of_row(block: int) -> int:
    """At most 32 elements of a row a thread."""
    return min(max(block // 1024, 1), 16)


def _aot_case(residual: bool, block: int) -> AotCase:
    pointers = {n: "*bf16" for n in ("x_ptr", "residual_ptr", "weight_ptr", "y_ptr", "sum_ptr")}
    strides = {n: "i32" for n in ("stride_x", "stride_residual", "W")}
    return AotCase(
        f"rmsnorm{' + residual' if residual else ''} W{block}",
        rmsnorm_kernel,
        pointers | strides | {"eps": "fp32"},
        {"BLOCK_W": block, "HAS_RESIDUAL": residual},
        num_warps=warps_of_row(block),
        divisible=(*pointers, *strides),
    )


AOT_CASES = [_aot_case(False, 4096), _aot_case(True, 4096), _aot_case(True, MAX_W)]
