"""Triton backend of `kernels.swiglu`: a program gates BLOCK_F elements of one row.

Memory-bound: reads 2 * N * F elements, writes N * F.
"""

import torch
import triton
import triton.language as tl

from .aot import AotCase

MAX_BLOCK = 2048


@triton.jit
def swiglu_kernel(x_ptr, y_ptr, stride_x, F, BLOCK_F: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    mask = cols < F
    gate = tl.load(x_ptr + row * stride_x + cols, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(x_ptr + row * stride_x + F + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * F + cols, (gate / (1.0 + tl.exp(-gate)) * up).to(y_ptr.dtype.element_ty), mask=mask)


def swiglu_triton(gate_up_NE: torch.Tensor) -> torch.Tensor:
    """Launch on an argument that `kernels.swiglu` has checked."""
    N, F = gate_up_NE.shape[0], gate_up_NE.shape[1] // 2
    y_NF = torch.empty((N, F), dtype=gate_up_NE.dtype, device=gate_up_NE.device)
    if N and F:
        block = min(triton.next_power_of_2(F), MAX_BLOCK)
        swiglu_kernel[(N, triton.cdiv(F, block))](gate_up_NE, y_NF, gate_up_NE.stride(0), F, BLOCK_F=block, num_warps=4)
    return y_NF


AOT_CASES = [
    AotCase(
        f"swiglu F{MAX_BLOCK}",
        swiglu_kernel,
        {"x_ptr": "*bf16", "y_ptr": "*bf16", "stride_x": "i32", "F": "i32"},
        {"BLOCK_F": MAX_BLOCK},
        divisible=("x_ptr", "y_ptr", "stride_x", "F"),
    )
]
