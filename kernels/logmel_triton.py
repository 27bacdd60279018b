"""Triton backend of `kernels.logmel`: a program turns BLOCK_T frames of one clip into log-mel rows, start to end on chip.

The DFT is four products a quarter of its size. With N = n_fft, x the frame, the window in the basis, theta = 2 pi k f / N:
    k and N - k share a cosine and, but for the sign, a sine:  e[k] = x[k] + x[N-k],  o[k] = x[k] - x[N-k],  k = 1 .. N/2
    f and N/2 - f share both, but for the sign of odd or of even k:  C0, C1 = sums of e[k] cos(theta) over even and odd k,
    S0, S1 = sums of o[k] sin(theta) likewise
    power[f] = (C0 + C1)^2 + (S0 + S1)^2      power[N/2 - f] = (C0 - C1)^2 + (S1 - S0)^2      f = 0 .. N/4
and the mel filters are two products more, for f and for N/2 - f. Every product is three of TF32 parts, as exact as float32;
the parts of basis and filters are made once, so that only the left side is split here.

A tile lies in one clip, so the clip's maximum costs one atomic maximum a tile. Rows are written scaled; a second pass raises
those under the maximum's bound in place (rounding is monotone, so the order of the two does not matter). Bytes: the samples
once (frames overlap in cache), the rows written once, read once, and rewritten where raised. The basis and filters, 0.7 MB
for Whisper, stay in cache.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from ..errors import InputError
from .aot import AotCase
from .logmel import FramePlan
from .logmel_spec import SPECS, LogMelSpec, hann_window, mel_filters

LOG10_2 = tl.constexpr(0.30102999566398120)
# Columns of the table of clips: first sample, samples, where they are mirrored, rows, frames, first row, first tile.
COLUMNS = tl.constexpr(7)
MAX_CLIP_SAMPLES = 2**31 - 2**16
LEAST_INT = -(2**31)


class Tiling(NamedTuple):
    """How the work is cut: frames, DFT bins and samples at a time."""

    block_t: int
    block_f: int
    block_k: int
    num_warps: int
    num_stages: int


# Compiles without spills for every architecture and spec (larger tiles do not); one clip of 10 s is 32 programs.
# Not measured on a GPU.
TILING = Tiling(32, 16, 16, 4, 2)


@triton.jit
def _at(x_ptr, place, num_samples, fold, mask, PERIODIC: tl.constexpr):
    """Samples at places of a clip that is mirrored at 0 and `fold` - 1, and 0 from num_samples on."""
    place = tl.abs(place)
    if PERIODIC:
        place = place % tl.maximum(2 * (fold - 1), 1)
    place = tl.where(place < fold, place, 2 * (fold - 1) - place)
    return tl.load(x_ptr + place, mask=mask & (place < num_samples), other=0.0)


@triton.jit
def _product(a, b_ptr, to_low, acc):
    """acc + a @ b in three TF32 products: b lies in memory as its TF32 part and, `to_low` further on, what that leaves."""
    high = ((a.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    b_high = tl.load(b_ptr)
    acc = tl.dot(a - high, b_high, acc, input_precision="tf32")
    acc = tl.dot(high, tl.load(b_ptr + to_low), acc, input_precision="tf32")
    return tl.dot(high, b_high, acc, input_precision="tf32")


@triton.jit
def _rows_kernel(
    x_ptr,
    clips_ptr,
    tile_clip_ptr,
    basis_ptr,
    filters_ptr,
    out_ptr,
    peak_ptr,
    floor,
    log_gain,
    shift,
    divisor,
    N_FFT: tl.constexpr,
    HOP: tl.constexpr,
    NUM_MELS: tl.constexpr,
    K: tl.constexpr,
    F: tl.constexpr,
    M: tl.constexpr,
    PERIODIC: tl.constexpr,
    HAS_PEAK: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    tile = tl.program_id(0)
    clip = tl.load(tile_clip_ptr + tile)
    at = clips_ptr + clip * COLUMNS
    x_ptr += tl.load(at)
    num_samples, fold = tl.load(at + 1).to(tl.int32), tl.load(at + 2).to(tl.int32)
    num_rows, num_work = tl.load(at + 3).to(tl.int32), tl.load(at + 4).to(tl.int32)
    frames = (tile - tl.load(at + 6)).to(tl.int32) * BLOCK_T + tl.arange(0, BLOCK_T)  # [T]
    working = (frames < num_work)[:, None]
    left = (frames * HOP - N_FFT // 2)[:, None]
    right = left + N_FFT
    mel_TM = tl.zeros((BLOCK_T, M), tl.float32)
    cols_m = tl.arange(0, M)[None, :]
    for f in range(0, F, BLOCK_F):
        cols_f = f + tl.arange(0, BLOCK_F)
        c0 = tl.zeros((BLOCK_T, BLOCK_F), tl.float32)
        c1, s0, s1 = c0, c0, c0
        for k in range(0, K, BLOCK_K):
            j = k + tl.arange(0, BLOCK_K)
            mask = working & (j < N_FFT // 4)[None, :]
            basis = basis_ptr + j[:, None] * F + cols_f[None, :]
            even, odd = (2 * j + 2)[None, :], (2 * j + 1)[None, :]
            a = _at(x_ptr, left + even, num_samples, fold, mask, PERIODIC)
            b = _at(x_ptr, right - even, num_samples, fold, mask, PERIODIC)
            c0 = _product(a + b, basis, K * F, c0)
            s0 = _product(a - b, basis + 2 * K * F, K * F, s0)
            a = _at(x_ptr, left + odd, num_samples, fold, mask, PERIODIC)
            b = _at(x_ptr, right - odd, num_samples, fold, mask, PERIODIC)
            c1 = _product(a + b, basis + 4 * K * F, K * F, c1)
            s1 = _product(a - b, basis + 6 * K * F, K * F, s1)
        filters = filters_ptr + cols_f[:, None] * M + cols_m
        mel_TM = _product((c0 + c1) * (c0 + c1) + (s0 + s1) * (s0 + s1), filters, F * M, mel_TM)
        mel_TM = _product((c0 - c1) * (c0 - c1) + (s1 - s0) * (s1 - s0), filters + 2 * F * M, F * M, mel_TM)
    log_TM = tl.log2(tl.maximum(mel_TM, floor)) * (LOG10_2 * log_gain)
    if HAS_PEAK:
        # The integer order of float bits is the order of the floats, once negative ones are turned round.
        peak = tl.max(tl.max(tl.where(working, log_TM, float("-inf")), axis=1), axis=0)
        bits = peak.to(tl.int32, bitcast=True)
        tl.atomic_max(peak_ptr + clip, bits ^ ((bits >> 31) & 0x7FFFFFFF))
    rows = (tl.load(at + 5) + frames)[:, None]
    y_TM = ((log_TM + shift) / divisor).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + rows * NUM_MELS + cols_m, y_TM, mask=(frames < num_rows)[:, None] & (cols_m < NUM_MELS))


@triton.jit
def _raise_kernel(
    out_ptr,
    clips_ptr,
    tile_clip_ptr,
    peak_ptr,
    max_range,
    shift,
    divisor,
    NUM_MELS: tl.constexpr,
    M: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    tile = tl.program_id(0)
    clip = tl.load(tile_clip_ptr + tile)
    at = clips_ptr + clip * COLUMNS
    num_rows = tl.load(at + 3).to(tl.int32)
    frames = (tile - tl.load(at + 6)).to(tl.int32) * BLOCK_T + tl.arange(0, BLOCK_T)
    cols_m = tl.arange(0, M)[None, :]
    bits = tl.load(peak_ptr + clip)
    peak = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
    bound = ((peak - max_range + shift) / divisor).to(out_ptr.dtype.element_ty)
    at_out = out_ptr + (tl.load(at + 5) + frames)[:, None] * NUM_MELS + cols_m
    mask = (frames < num_rows)[:, None] & (cols_m < NUM_MELS)
    y_TM = tl.load(at_out, mask=mask, other=0.0)
    tl.store(at_out, tl.zeros_like(y_TM) + bound, mask=mask & (y_TM < bound))


def logmel_triton(samples_N: torch.Tensor, plan: FramePlan, spec: LogMelSpec, out_dtype: torch.dtype) -> torch.Tensor:
    """Launch both passes; `kernels.logmel.logmel` has checked the samples and made the plan.

    Returns:
        [sum of plan.num_rows, num_mels] in out_dtype.

    Raises:
        InputError: a clip longer than 32-bit places within it can tell.
    """
    if (plan.num_samples > MAX_CLIP_SAMPLES).any():
        clip = int((plan.num_samples > MAX_CLIP_SAMPLES).argmax())
        raise InputError(
            f"logmel: clip {clip} has {plan.num_samples[clip]} samples, wanted {MAX_CLIP_SAMPLES} or fewer"
        )
    out = torch.empty(int(plan.num_rows.sum()), spec.num_mels, dtype=out_dtype, device=samples_N.device)
    tiling = TILING
    table, num_tiles = _table(plan, tiling.block_t)
    if not num_tiles:
        return out
    clips = torch.from_numpy(table).to(samples_N.device, non_blocking=True)
    tile_clip = clips[len(plan.start) * COLUMNS.value :]
    peak = torch.full((len(plan.start),), LEAST_INT, dtype=torch.int32, device=samples_N.device)
    basis, filters = _constants(spec, tiling.block_f, tiling.block_k, samples_N.device)
    width = filters.shape[-1]
    periodic = spec.right_edge == "reflect" and bool((plan.num_samples <= spec.n_fft // 2 + spec.hop_length).any())
    grid = (num_tiles,)
    with torch.cuda.device_of(samples_N):
        _rows_kernel[grid](
            samples_N, clips, tile_clip, basis, filters, out, peak,
            spec.floor, spec.log_gain, spec.shift, spec.divisor,
            N_FFT=spec.n_fft, HOP=spec.hop_length, NUM_MELS=spec.num_mels, K=basis.shape[2], F=basis.shape[3], M=width,
            PERIODIC=periodic, HAS_PEAK=spec.max_range is not None,
            BLOCK_T=tiling.block_t, BLOCK_F=tiling.block_f, BLOCK_K=tiling.block_k,
            num_warps=tiling.num_warps, num_stages=tiling.num_stages,
        )  # fmt: skip
        if spec.max_range is not None:
            _raise_kernel[grid](
                out, clips, tile_clip, peak, spec.max_range, spec.shift, spec.divisor,
                NUM_MELS=spec.num_mels, M=width, BLOCK_T=tiling.block_t, num_warps=4,
            )  # fmt: skip
    return out


def _table(plan: FramePlan, block_t: int) -> tuple[np.ndarray, int]:
    """int64: COLUMNS a clip, then the clip of every tile; and how many tiles there are."""
    tiles = -(-plan.num_work // block_t)
    first_row, first_tile = np.cumsum(plan.num_rows) - plan.num_rows, np.cumsum(tiles) - tiles
    # Where nothing is mirrored the cap may be far off: 32 bits hold it all the same.
    fold = np.minimum(plan.fold, 2**31 - 1)
    clips = np.stack([plan.start, plan.num_samples, fold, plan.num_rows, plan.num_work, first_row, first_tile], axis=1)
    return np.concatenate([clips.ravel(), np.repeat(np.arange(len(tiles)), tiles)]), int(tiles.sum())


@lru_cache(maxsize=16)
def _constants(spec: LogMelSpec, block_f: int, block_k: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in their two TF32 parts, the second dimension here.

    The windowed basis [4, 2, K, F]: even k cosine and sine, odd k likewise. The filters [2, 2, F, M]: of f, and of N/2 - f.
    """
    quarter = spec.n_fft // 4
    width, depth = -(-(quarter + 1) // block_f) * block_f, -(-quarter // block_k) * block_k
    window, mel = hann_window(spec), mel_filters(spec)
    basis = np.zeros((4, depth, width))
    for parity, k in enumerate((np.arange(2, 2 * quarter + 1, 2), np.arange(1, 2 * quarter, 2))):
        angle = 2 * np.pi / spec.n_fft * (k[:, None] * np.arange(quarter + 1) % spec.n_fft)
        # The middle of the frame is its own mirror image, and counted twice.
        weight = np.where(k == 2 * quarter, 0.5, 1.0)[:, None] * window[k][:, None]
        basis[2 * parity, :quarter, : quarter + 1] = weight * np.cos(angle)
        basis[2 * parity + 1, :quarter, : quarter + 1] = weight * np.sin(angle)
    filters = np.zeros((2, width, triton.next_power_of_2(spec.num_mels)))
    filters[0, : quarter + 1, : spec.num_mels] = mel[: quarter + 1]
    # f = N/4 is its own mirror image too: it is in the first half already.
    filters[1, :quarter, : spec.num_mels] = mel[:quarter:-1]
    return tuple(_in_two(c).to(device) for c in (basis, filters))  # type: ignore[return-value]


def _in_two(exact: np.ndarray) -> torch.Tensor:
    """float64 [P, ...] -> float32 [P, 2, ...]: the nearest TF32 number, and the nearest to what is left."""
    tf32 = lambda x: ((x.astype(np.float32).view(np.int32) + 0x1000) & -0x2000).view(np.float32)
    high = tf32(exact)
    return torch.from_numpy(np.stack([high, tf32(exact - high)], axis=1))


POINTERS = dict(out_ptr="*fp32", clips_ptr="*i64", tile_clip_ptr="*i64", peak_ptr="*i32")
ALIGNED = ("out_ptr", "clips_ptr", "peak_ptr")


def rows_case(spec: LogMelSpec, periodic: bool = False) -> AotCase:
    """The first pass of a front end, float32 rows; periodic: of clips mirrored more than once."""
    up = lambda n, block: -(-n // block) * block
    arrays = dict(x_ptr="*fp32", basis_ptr="*fp32", filters_ptr="*fp32")
    scalars = dict(floor="fp32", log_gain="fp32", shift="fp32", divisor="fp32")
    shape = dict(NUM_MELS=spec.num_mels, M=triton.next_power_of_2(spec.num_mels), BLOCK_T=TILING.block_t)
    dft = dict(N_FFT=spec.n_fft, HOP=spec.hop_length, PERIODIC=periodic, HAS_PEAK=spec.max_range is not None)
    blocks = dict(
        K=up(spec.n_fft // 4, TILING.block_k),
        F=up(spec.n_fft // 4 + 1, TILING.block_f),
        BLOCK_F=TILING.block_f,
        BLOCK_K=TILING.block_k,
    )
    return AotCase(
        name=f"logmel {spec.name} fp32 T{TILING.block_t}",
        kernel=_rows_kernel,
        signature=POINTERS | arrays | scalars,
        constexprs=shape | dft | blocks,
        num_warps=TILING.num_warps,
        num_stages=TILING.num_stages,
        divisible=(*ALIGNED, *arrays),
        needs_mma=True,
    )


def raise_case(spec: LogMelSpec) -> AotCase:
    """The second pass of a front end, float32 rows."""
    return AotCase(
        name=f"logmel raise {spec.num_mels} fp32 T{TILING.block_t}",
        kernel=_raise_kernel,
        signature=POINTERS | dict(max_range="fp32", shift="fp32", divisor="fp32"),
        constexprs=dict(NUM_MELS=spec.num_mels, M=triton.next_power_of_2(spec.num_mels), BLOCK_T=TILING.block_t),
        divisible=ALIGNED,
    )


AOT_CASES = [
    *(rows_case(SPECS[name]) for name in ("whisper-128", "dasheng-64", "htsat-64")),
    raise_case(SPECS["whisper-128"]),
]
