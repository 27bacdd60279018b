"""Triton backend of `kernels.yes_no`: a program scores one hidden row, two dot products in one pass.

Memory-bound: reads B * W elements and, from cache, the two rows of the output layer.
"""

import torch
import triton
import triton.language as tl

from .aot import AotCase

MAX_BLOCK = 2048


@triton.jit
def yes_no_kernel(
    hidden_ptr,
    weight_ptr,
    added_ptr,
    p_ptr,
    stride_hidden,
    stride_weight,
    W,
    gain,
    HAS_ADDED: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    yes = tl.zeros((BLOCK_W,), tl.float32)
    no = tl.zeros((BLOCK_W,), tl.float32)
    for start in range(0, W, BLOCK_W):
        cols = start + tl.arange(0, BLOCK_W)
        mask = cols < W
        hidden = tl.load(hidden_ptr + row * stride_hidden + cols, mask=mask, other=0.0).to(tl.float32)
        yes += hidden * tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
        no += hidden * tl.load(weight_ptr + stride_weight + cols, mask=mask, other=0.0).to(tl.float32)
    odds = gain * (tl.sum(yes, 0) - tl.sum(no, 0))
    if HAS_ADDED:
        odds += tl.load(added_ptr + row)
    tl.store(p_ptr + row, 1.0 / (1.0 + tl.exp(-odds)))


def yes_no_triton(
    hidden_BW: torch.Tensor, weight_2W: torch.Tensor, added_B: torch.Tensor | None, gain: float
) -> torch.Tensor:
    """Launch on arguments that `kernels.yes_no` has checked."""
    B, W = hidden_BW.shape
    p_B = torch.empty((B,), dtype=torch.float32, device=hidden_BW.device)
    if B:
        block = min(triton.next_power_of_2(max(W, 1)), MAX_BLOCK)
        yes_no_kernel[(B,)](
            hidden_BW,
            weight_2W,
            p_B if added_B is None else added_B,
            p_B,
            hidden_BW.stride(0),
            weight_2W.stride(0),
            W,
            gain,
            HAS_ADDED=added_B is not None,
            BLOCK_W=block,
            num_warps=4,
        )
    return p_B


AOT_CASES = [
    AotCase(
        f"yes no W{MAX_BLOCK}",
        yes_no_kernel,
        {"hidden_ptr": "*bf16", "weight_ptr": "*bf16", "added_ptr": "*fp32", "p_ptr": "*fp32"}
        | {n: "i32" for n in ("stride_hidden", "stride_weight", "W")}
        | {"gain": "fp32"},
        {"HAS_ADDED": True, "BLOCK_W": MAX_BLOCK},
        divisible=("hidden_ptr", "weight_ptr", "added_ptr", "p_ptr", "stride_hidden", "stride_weight", "W"),
    )
]
