"""Pooling against eager and compiled torch.   python -m harken.bench.kernels.pool [--out FILE]

Question: does one read of the hidden states suffice, that is, what share of the copy bandwidth does norm + pooling + head
          reach, and how much faster is it than the same in torch?
Gate:     kernels.testing.assert_as_good_as against float64 on two sequences before anything is timed.
Reads:    GB/s = N * W * itemsize / median, beside the measured copy (bytes read and written); ratio = median of the rival /
          of harken, cpu ratio the same of the least processor time.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as functional

from ...kernels.pool import Norm, PoolHead, pool, pool_reference
from ...kernels.rmsnorm import rmsnorm_reference
from ...kernels.testing import assert_as_good_as
from ..record import machine_line
from .compare import Way, ceilings, emit, in_turns


def eager(hidden_BTW: torch.Tensor, norm: Norm, head: PoolHead) -> torch.Tensor:
    """What one writes in torch for a batch of equal lengths."""
    pooled_BW = functional.normalize(rmsnorm_reference(hidden_BTW, *norm).float().mean(1), dim=-1)
    projected = pooled_BW @ head.weight_VW.T
    shaped = functional.layer_norm(projected, head.norm_weight_V.shape, head.norm_weight_V, head.norm_bias_V, head.eps)
    return functional.normalize(shaped, dim=-1)


def ways_of(hidden_NW: torch.Tensor, length: int, norm: Norm, head: PoolHead, compiled: bool) -> dict[str, Way]:
    """The same vectors by harken, eager torch and, if asked for, compiled torch."""
    batch_BTW = hidden_NW.unflatten(0, (-1, length))
    cu = torch.arange(0, len(hidden_NW) + 1, length, dtype=torch.int32, device=hidden_NW.device)
    ways: dict[str, Way] = {
        "harken": lambda: pool(hidden_NW, cu, norm=norm, head=head, normalize=True),
        "torch eager": lambda: eager(batch_BTW, norm, head),
    }
    if compiled:
        fused = torch.compile(eager)
        ways["torch.compile"] = lambda: fused(batch_BTW, norm, head)
    return ways


def gate(hidden_NW: torch.Tensor, length: int, norm: Norm, head: PoolHead) -> None:
    cu = torch.tensor([0, length, 2 * length], dtype=torch.int32, device=hidden_NW.device)
    two, wide = hidden_NW[: 2 * length], Norm(norm.weight_W.double(), norm.eps)
    exact = pool_reference(two.double(), cu, norm=wide, head=head, normalize=True)
    plain = pool_reference(two, cu, norm=norm, head=head, normalize=True)
    assert_as_good_as(pool(two, cu, norm=norm, head=head, normalize=True), plain, exact)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, help="at least 2; default 64 on CUDA, 4 on the CPU")
    parser.add_argument("--length", type=int, default=280)
    parser.add_argument("--width", type=int, default=3584)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (always on CUDA)")
    parser.add_argument("--out", type=Path, help="append one JSON line a result")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    B, T, W = args.sequences or (64 if device.type == "cuda" else 4), args.length, args.width
    limits, where = ceilings(device), machine_line(device)
    print(where, {name: round(value, 3) for name, value in limits.items()})
    generator = torch.Generator(device).manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device=device)
    head = PoolHead(draw(512, W) / W**0.5, torch.ones(512, device=device), draw(512), normalize_input=True)
    for dtype in (torch.bfloat16, torch.float32):
        hidden, norm = draw(B * T, W).to(dtype), Norm(torch.ones(W, device=device, dtype=dtype), 1e-6)
        gate(hidden, T, norm, head)
        ways = ways_of(hidden, T, norm, head, args.compile or device.type == "cuda")
        timings = in_turns(ways, device, rounds=args.rounds)
        for name, t in timings.items():
            gb_s = hidden.numel() * hidden.element_size() / t.p50_ms / 1e6
            ratio, cpu_ratio = t.p50_ms / timings["harken"].p50_ms, t.cpu_ms / timings["harken"].cpu_ms
            print(
                f"{str(dtype)[6:]:9} {B} x {T} x {W} {name:14} {t.p50_ms:9.3f} ms ({t.p20_ms:.3f}..{t.p80_ms:.3f})"
                f" {gb_s:8.1f} GB/s  x{ratio:.2f}  cpu {t.cpu_ms:.1f} ms x{cpu_ratio:.2f}"
            )
            row = {"op": "pool", "way": name, "B": B, "T": T, "W": W, "dtype": str(dtype)[6:]}
            row |= {"ms_p20": t.p20_ms, "ms_p50": t.p50_ms, "ms_p80": t.p80_ms, "cpu_ms": t.cpu_ms}
            emit(where | limits | row | {"gb_s": gb_s, "ratio": ratio, "cpu_ratio": cpu_ratio}, args.out)


if __name__ == "__main__":
    main()
