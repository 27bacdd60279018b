"""Triton backend of `kernels.gather_rows`: a program copies BLOCK_W elements of one row to its place.

Memory-bound: reads and writes A * W elements.
"""

import torch
import triton
import triton.language as tl

from .aot import AotCase

MAX_BLOCK = 2048


@triton.jit
def gather_rows_kernel(stream_ptr, rows_ptr, places_ptr, stride_stream, stride_rows, W, BLOCK_W: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.load(places_ptr + row)
    cols = tl.program_id(1) * BLOCK_W + tl.arange(0, BLOCK_W)
    values = tl.load(rows_ptr + row * stride_rows + cols, mask=cols < W, other=0.0)
    tl.store(stream_ptr + place * stride_stream + cols, values, mask=cols < W)


def gather_rows_triton(stream_NW: torch.Tensor, rows_AW: torch.Tensor, places_A: torch.Tensor) -> torch.Tensor:
    """Launch on arguments that `kernels.gather_rows` has checked; places_A is on the stream's device."""
    A, W = rows_AW.shape
    if A and W:
        block = min(triton.next_power_of_2(W), MAX_BLOCK)
        gather_rows_kernel[(A, triton.cdiv(W, block))](
            stream_NW, rows_AW, places_A, stream_NW.stride(0), rows_AW.stride(0), W, BLOCK_W=block, num_warps=4
        )
    return stream_NW


_POINTERS = {"stream_ptr": "*bf16", "rows_ptr": "*bf16", "places_ptr": "*i64"}
_STRIDES = {"stride_stream": "i32", "stride_rows": "i32", "W": "i32"}
AOT_CASES = [
    AotCase(
        f"gather rows W{MAX_BLOCK}",
        gather_rows_kernel,
        _POINTERS | _STRIDES,
        {"BLOCK_W": MAX_BLOCK},
        divisible=(*_POINTERS, *_STRIDES),
    )
]
