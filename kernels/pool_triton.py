"""Triton backend of `kernels.pool`: one read of the hidden states, norm and sum in float32 on the way.

    pool_rows_kernel     norms and sums CHUNK rows of one sequence -> a partial sum
    pool_finish_kernel   adds the partial sums of a sequence in order and divides by the count
    torch.mm             the head's projection, if any
    pool_tail_kernel     layer norm and unit length

Chunks count from the start of their own sequence, so a vector does not depend on the others. Memory-bound: reads
N * W * itemsize bytes (B * W for one row a sequence); partial sums add 4 / (CHUNK * itemsize) of that, written and read.
"""

import torch
import triton
import triton.language as tl

from ..errors import InputError
from .aot import AotCase
from .pool import MIN_NORM, Mode, Norm, PoolHead
from .rmsnorm_triton import warps_of_row

# N rows, B sequences, W width, V width of the vector.

CHUNK = 32
FINISH_W = 512
# A row, and a tile of rows, live in registers: 64 elements a thread of 8 warps, 32 of 16 warps.
MAX_W = 16384
MODES = {"mean": 0, "span": 1, "position": 2, "last": 3}


@triton.jit
def pooled_range(cu_ptr, spans_ptr, sequence, MODE: tl.constexpr):
    """First row and end of what is pooled of a sequence; an empty range where that is not inside it."""
    first = tl.load(cu_ptr + sequence).to(tl.int64)
    end = tl.load(cu_ptr + sequence + 1).to(tl.int64)
    start, stop = first, end
    if MODE == 1:
        start = first + tl.load(spans_ptr + 2 * sequence)
        stop = first + tl.load(spans_ptr + 2 * sequence + 1)
    if MODE == 2:
        start = first + tl.load(spans_ptr + sequence)
        stop = start + 1
    if MODE == 3:
        start = end - 1
    inside = (start >= first) & (stop <= end) & (start < stop)
    return start, tl.where(inside, stop, start)


@triton.jit(do_not_specialize=["B"])
def pool_rows_kernel(
    hidden_ptr,
    weight_ptr,
    cu_ptr,
    spans_ptr,
    partial_ptr,
    stride_hidden,
    B,
    W,
    eps,
    BLOCK_W: tl.constexpr,
    ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
    MODE: tl.constexpr,
    HAS_NORM: tl.constexpr,
):
    slot = tl.program_id(0).to(tl.int64)
    sequence = slot
    chunk = slot * 0
    if MODE < 2:
        # Sequence b owns the slots from cu[b] // CHUNK + b on: never fewer than its chunks, and known without a scan.
        sequence, above = slot * 0, slot * 0 + B
        while above - sequence > 1:
            middle = (sequence + above) // 2
            reached = tl.load(cu_ptr + middle) // CHUNK + middle <= slot
            sequence = tl.where(reached, middle, sequence)
            above = tl.where(reached, above, middle)
        chunk = slot - (tl.load(cu_ptr + sequence) // CHUNK + sequence)
    start, stop = pooled_range(cu_ptr, spans_ptr, sequence, MODE)
    start += chunk * CHUNK
    stop = tl.minimum(stop, start + CHUNK)
    if start < stop:
        cols = tl.arange(0, BLOCK_W)
        total = tl.zeros((BLOCK_W,), tl.float32)
        if HAS_NORM:
            weight = tl.load(weight_ptr + cols, mask=cols < W, other=0.0).to(tl.float32)
        for begin in range(start, stop, ROWS):
            rows = begin + tl.arange(0, ROWS)
            mask = (rows < stop)[:, None] & (cols < W)[None, :]
            hidden = tl.load(hidden_ptr + rows[:, None] * stride_hidden + cols[None, :], mask=mask, other=0.0)
            wide = hidden.to(tl.float32)
            if HAS_NORM:
                scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 1) / W + eps)
                normed = (wide * scale[:, None]).to(hidden.dtype).to(tl.float32)
                wide = (normed * weight[None, :]).to(hidden.dtype).to(tl.float32)
            total += tl.sum(wide, 0)
        tl.store(partial_ptr + slot * W + cols, total, mask=cols < W)


@triton.jit
def pool_finish_kernel(
    partial_ptr, cu_ptr, spans_ptr, out_ptr, W, BLOCK_W: tl.constexpr, CHUNK: tl.constexpr, MODE: tl.constexpr
):
    sequence = tl.program_id(0).to(tl.int64)
    start, stop = pooled_range(cu_ptr, spans_ptr, sequence, MODE)
    slot = sequence
    if MODE < 2:
        slot = tl.load(cu_ptr + sequence) // CHUNK + sequence
    cols = tl.program_id(1) * BLOCK_W + tl.arange(0, BLOCK_W)
    total = tl.zeros((BLOCK_W,), tl.float32)
    for chunk in range(0, tl.cdiv(stop - start, CHUNK)):
        total += tl.load(partial_ptr + (slot + chunk) * W + cols, mask=cols < W, other=0.0)
    count = (stop - start).to(tl.float32)
    mean = tl.where(count > 0, total / tl.maximum(count, 1.0), float("nan"))
    tl.store(out_ptr + sequence * W + cols, mean, mask=cols < W)


@triton.jit
def pool_tail_kernel(
    pooled_ptr,
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    W,
    V,
    eps,
    min_norm,
    BLOCK_W: tl.constexpr,
    BLOCK_V: tl.constexpr,
    HAS_HEAD: tl.constexpr,
    NORMALIZE_INPUT: tl.constexpr,
    NORMALIZE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    outs = tl.arange(0, BLOCK_V)
    mask = outs < V
    x = tl.load(x_ptr + row * V + outs, mask=mask, other=0.0)
    if NORMALIZE_INPUT:
        # The projection is linear: dividing its output by the input's length is dividing the input.
        cols = tl.arange(0, BLOCK_W)
        pooled = tl.load(pooled_ptr + row * W + cols, mask=cols < W, other=0.0)
        x = x / tl.maximum(tl.sqrt(tl.sum(pooled * pooled, 0)), min_norm)
    if HAS_HEAD:
        centred = tl.where(mask, x - tl.sum(x, 0) / V, 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / V + eps)
        weight = tl.load(weight_ptr + outs, mask=mask, other=0.0)
        x = centred * scale * weight + tl.load(bias_ptr + outs, mask=mask, other=0.0)
    if NORMALIZE:
        x = x / tl.maximum(tl.sqrt(tl.sum(x * x, 0)), min_norm)
    tl.store(out_ptr + row * V + outs, x, mask=mask)


def rows_at_once(block_w: int) -> int:
    """Rows of a tile of pass 1: enough loads in flight, and at most 64 elements a thread."""
    return min(max(16384 // block_w, 1), 8)


def warps_of_tile(block_w: int, rows: int) -> int:
    return warps_of_row(block_w) if rows == 1 else 8


def pool_triton(
    hidden_NW: torch.Tensor,
    cu_seqlens: torch.Tensor,
    mode: Mode,
    spans: torch.Tensor | None,
    norm: Norm | None,
    head: PoolHead | None,
    normalize: bool,
) -> torch.Tensor:
    """Launch on arguments that `kernels.pool` has checked.

    Raises:
        InputError: W or the head's width is over MAX_W.
    """
    (N, W), B, device = hidden_NW.shape, len(cu_seqlens) - 1, hidden_NW.device
    V = W if head is None else head.weight_VW.shape[0]
    if max(W, V) > MAX_W:
        raise InputError(f"pool: hidden_NW is {W} wide and the vector {V}, the Triton backend takes up to {MAX_W}")
    pooled_BW = torch.empty((B, W), dtype=torch.float32, device=device)
    if not B or not W:
        return pooled_BW.new_empty((B, V))
    cu_seqlens = cu_seqlens.contiguous()
    spans = cu_seqlens if spans is None else spans.contiguous()
    block, number = triton.next_power_of_2(W), MODES[mode]
    rows = 1 if number > 1 else rows_at_once(block)
    partial = torch.empty((B if number > 1 else N // CHUNK + B, W), dtype=torch.float32, device=device)
    pool_rows_kernel[(partial.shape[0],)](
        hidden_NW,
        hidden_NW if norm is None else norm.weight_W,
        cu_seqlens,
        spans,
        partial,
        hidden_NW.stride(0),
        B,
        W,
        0.0 if norm is None else norm.eps,
        BLOCK_W=block,
        ROWS=rows,
        CHUNK=CHUNK,
        MODE=number,
        HAS_NORM=norm is not None,
        num_warps=warps_of_tile(block, rows),
    )
    finish_block = min(block, FINISH_W)
    pool_finish_kernel[(B, triton.cdiv(W, finish_block))](
        partial, cu_seqlens, spans, pooled_BW, W, BLOCK_W=finish_block, CHUNK=CHUNK, MODE=number, num_warps=4
    )
    if head is None and not normalize:
        return pooled_BW
    x_BV = pooled_BW if head is None else pooled_BW @ head.weight_VW.T
    out_BV = torch.empty_like(x_BV)
    block_v = triton.next_power_of_2(V)
    pool_tail_kernel[(B,)](
        pooled_BW,
        x_BV,
        x_BV if head is None else head.norm_weight_V,
        x_BV if head is None else head.norm_bias_V,
        out_BV,
        W,
        V,
        0.0 if head is None else head.eps,
        MIN_NORM,
        BLOCK_W=block,
        BLOCK_V=block_v,
        HAS_HEAD=head is not None,
        NORMALIZE_INPUT=head is not None and head.normalize_input,
        NORMALIZE=normalize,
        num_warps=warps_of_row(max(block, block_v)),
    )
    return out_BV


def rows_case(dtype: str, mode: int, block: int) -> AotCase:
    """Pass 1 with a norm, for rows of up to `block`, a multiple of 16."""
    pointers = {"hidden_ptr": f"*{dtype}", "weight_ptr": f"*{dtype}", "cu_ptr": "*i32", "spans_ptr": "*i32"}
    pointers |= {"partial_ptr": "*fp32"}
    rows = 1 if mode > 1 else rows_at_once(block)
    return AotCase(
        f"pool rows {dtype} W{block} x{rows} mode {mode}",
        pool_rows_kernel,
        pointers | {"stride_hidden": "i32", "B": "i32", "W": "i32", "eps": "fp32"},
        {"BLOCK_W": block, "ROWS": rows, "CHUNK": CHUNK, "MODE": mode, "HAS_NORM": True},
        num_warps=warps_of_tile(block, rows),
        divisible=(*pointers, "stride_hidden", "W"),
    )


def finish_case(mode: int) -> AotCase:
    """Pass 2, for widths that are a multiple of 16."""
    pointers = {"partial_ptr": "*fp32", "cu_ptr": "*i32", "spans_ptr": "*i32", "out_ptr": "*fp32"}
    sizes = {"BLOCK_W": FINISH_W, "CHUNK": CHUNK, "MODE": mode}
    return AotCase(
        f"pool finish W{FINISH_W}", pool_finish_kernel, pointers | {"W": "i32"}, sizes, divisible=(*pointers, "W")
    )


def tail_case(
    block_w: int, block_v: int, has_head: bool = True, normalize_input: bool = True, normalize: bool = True
) -> AotCase:
    """Layer norm and unit length, of vectors of any width up to block_v."""
    pointers = {n: "*fp32" for n in ("pooled_ptr", "x_ptr", "weight_ptr", "bias_ptr", "out_ptr")}
    options = {"HAS_HEAD": has_head, "NORMALIZE_INPUT": normalize_input, "NORMALIZE": normalize}
    return AotCase(
        f"pool tail W{block_w} V{block_v}",
        pool_tail_kernel,
        pointers | {"W": "i32", "V": "i32", "eps": "fp32", "min_norm": "fp32"},
        options | {"BLOCK_W": block_w, "BLOCK_V": block_v},
        num_warps=warps_of_row(max(block_w, block_v)),
        divisible=tuple(pointers),
    )


# Production widths: 3584 in a block of 4096, the widest block, one row a sequence, and a head of 512.
AOT_CASES = [
    *(rows_case(*c) for c in (("bf16", 0, 4096), ("fp32", 1, 4096), ("bf16", 3, 4096), ("bf16", 0, MAX_W))),
    finish_case(1),
    tail_case(4096, 512),
]
