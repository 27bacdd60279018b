"""Products with packed weights beside numpy and torch at the towers' and decoders' shapes, one and two threads.

    python -m harken.bench.csrc.product [--repeats N]

Question: does a library without BLAS cost time? Whole prompts (hundreds of rows), short texts, and a single row.
Gate:     every way's result lies within its dtype's rounding of numpy's in float64, or nothing is timed.
Rivals:   numpy's matmul (OpenBLAS) and torch's linear (MKL or oneDNN), both in float32.
Reads:    GFLOP/s of the fastest of the repeats, ways in turns; narrow weights are told by the float32 product's work.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ... import csrc
from .threads import with_threads

# rows, columns out, columns in: Whisper large's and base's layers, Qwen2's and SmolLM2's MLPs, one query.
SHAPES = (
    (500, 1280, 1280),
    (500, 5120, 1280),
    (500, 1280, 5120),
    (256, 8960, 1536),
    (500, 2048, 512),
    (16, 2048, 2048),
    (16, 3072, 576),
    (1, 2048, 2048),
)
# Largest error, relative to the largest result.
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3, "int8": 2e-2}
MIN_S = 0.02


def measure(rows: int, num_out: int, num_in: int, threads: int, repeats: int) -> dict[str, float]:
    """GFLOP/s of each way."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, num_in)).astype(np.float32)
    weight = rng.standard_normal((num_out, num_in)).astype(np.float32)
    want = x.astype(np.float64) @ weight.T.astype(np.float64)
    core = csrc.core()
    pool = core.ThreadPool(threads)
    x_torch, weight_torch = torch.from_numpy(x), torch.from_numpy(weight)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "numpy": lambda: x @ weight.T,
        "torch": lambda: torch.nn.functional.linear(x_torch, weight_torch).numpy(),
    }
    for dtype in TOLERANCE:
        ways[dtype] = partial(core.Product(weight, dtype), pool, x)
    rounds = {}
    for name, way in ways.items():
        error = np.abs(way() - want).max() / np.abs(want).max()
        if not error <= TOLERANCE.get(name, 1e-5):
            raise SystemExit(f"FAILED: {name} at {rows} x {num_out} x {num_in} is off by {error:.1e}; nothing is timed")
        start = time.perf_counter()
        way()
        rounds[name] = max(1, round(MIN_S / (time.perf_counter() - start)))
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(rounds[name]):
                way()
            best[name] = min(best[name], (time.perf_counter() - start) / rounds[name])
    return {name: 2e-9 * rows * num_out * num_in / seconds for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="how many of the shapes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.here:
        given = ["--repeats", str(args.repeats), "--shapes", str(args.shapes), "--here"]
        raise SystemExit(with_threads(__spec__.name, given, args.threads))
    threads = args.threads[0]
    torch.set_num_threads(threads)
    print(
        f"{csrc.core().cpu_isa()}, {threads} of {os.cpu_count()} threads, GFLOP/s; ratio = float32 / the better rival"
    )
    for rows, num_out, num_in in SHAPES[: args.shapes]:
        speed = measure(rows, num_out, num_in, threads, args.repeats)
        figures = "  ".join(f"{name} {value:6.1f}" for name, value in speed.items())
        ratio = speed["float32"] / max(speed["numpy"], speed["torch"])
        print(f"{rows:4} x {num_out:5} x {num_in:5}  {figures}  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
