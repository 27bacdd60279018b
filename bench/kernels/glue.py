"""The packed glue against plain torch.   python -m harken.bench.kernels.glue [--rows N] [--out FILE]

Question: does each small kernel run at memory speed, and how much time does one launch save over torch's several?
Gate:     every result must be close to torch's (bfloat16: 2 % of the largest value) before anything is timed.
Reads:    GB/s = bytes that must be read and written once / median, beside the measured copy.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...kernels.gather_rows import gather_rows
from ...kernels.merge_attention import merge_attention
from ...kernels.rmsnorm import add_rmsnorm, rmsnorm
from ...kernels.rotary import rotary, rotary_table
from ...kernels.swiglu import swiglu
from ...kernels.yes_no import yes_no
from ..record import machine_line
from .compare import Way, ceilings, emit, in_turns

WIDTH, HEADS, KV_HEADS, HEAD_WIDTH, MLP_WIDTH = 3584, 28, 4, 128, 18944

Op = Callable[[str], Any]


def operations(num_rows: int, device: torch.device, dtype: torch.dtype) -> dict[str, tuple[Op, int]]:
    """Every operation at the sizes of a 7B decoder: a call that takes a backend, and the elements it must move."""
    generator = torch.Generator(device).manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device=device).to(dtype)
    x, residual, weight, gate_up = (
        draw(num_rows, WIDTH),
        draw(num_rows, WIDTH),
        draw(WIDTH),
        draw(num_rows, 2 * MLP_WIDTH),
    )
    qkv = draw(num_rows, HEADS + 2 * KV_HEADS, HEAD_WIDTH)
    q, k = qkv[:, :HEADS], qkv[:, HEADS : HEADS + KV_HEADS]
    inverse = 1e6 ** (-torch.arange(0, HEAD_WIDTH, 2, device=device) / HEAD_WIDTH)
    cos, sin = rotary_table(torch.arange(num_rows, device=device), inverse, dtype)
    out1, out2 = draw(num_rows, HEADS, HEAD_WIDTH), draw(num_rows, HEADS, HEAD_WIDTH)
    lse1, lse2 = draw(HEADS, num_rows).float(), draw(HEADS, num_rows).float()
    places, rows = torch.arange(0, num_rows, 2), draw(-(-num_rows // 2), WIDTH)
    two = draw(2, WIDTH)
    n = num_rows
    return {
        "rmsnorm": (lambda b: rmsnorm(x, weight, 1e-6, backend=b), 2 * n * WIDTH),
        "add_rmsnorm": (lambda b: add_rmsnorm(x, residual, weight, 1e-6, backend=b)[0], 4 * n * WIDTH),
        "rotary": (lambda b: rotary(q, k, cos, sin, backend=b)[0], n * (2 * HEADS + 2 * KV_HEADS + 1) * HEAD_WIDTH),
        "swiglu": (lambda b: swiglu(gate_up, backend=b), 3 * n * MLP_WIDTH),
        "gather_rows": (lambda b: gather_rows(x, rows, places, backend=b), 2 * rows.numel()),
        "merge_attention": (lambda b: merge_attention(out1, lse1, out2, lse2, backend=b)[0], 3 * out1.numel()),
        "yes_no": (lambda b: yes_no(x, two, backend=b), n * WIDTH),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="default 16384 on CUDA, 256 on the CPU")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="append one JSON line a result")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_rows = args.rows or (16384 if device.type == "cuda" else 256)
    limits, where = ceilings(device), machine_line(device)
    print(where, {name: round(value, 3) for name, value in limits.items()})
    for name, (call, elements) in operations(num_rows, device, torch.bfloat16).items():
        ways: dict[str, Way] = {"torch eager": partial(call, "reference")}
        if device.type == "cuda":
            got, wanted = call("triton").float(), call("reference").float()
            if float((got - wanted).abs().max()) > 0.02 * float(wanted.abs().max()):
                print(f"FAILED {name}: off by {float((got - wanted).abs().max())}")
                continue
            ways["harken"] = partial(call, "triton")
        for way, t in in_turns(ways, device, rounds=args.rounds).items():
            gb_s = 2 * elements / t.p50_ms / 1e6
            print(f"{name:16} {way:12} {t.p50_ms:9.4f} ms ({t.p20_ms:.4f}..{t.p80_ms:.4f}) {gb_s:8.1f} GB/s")
            row = {"op": name, "way": way, "rows": num_rows, "dtype": "bfloat16", "gb_s": gb_s, "repeats": t.repeats}
            row |= {"ms_p20": t.p20_ms, "ms_p50": t.p50_ms, "ms_p80": t.p80_ms, "cpu_ms": t.cpu_ms}
            emit(where | limits | row, args.out)


if __name__ == "__main__":
    main()
