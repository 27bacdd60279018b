"""Float32 products on a CPU: harken's linear layer against torch's.   python -m harken.bench.kernels.linear [--out FILE]

Question: is oneDNN, where `engine/models/layers.py` sends these products, faster than what torch takes by itself (MKL)?
Gate:     the results must agree to 1e-5 of the largest, or nothing is timed.
Rivals:   "torch": F.linear on the same tensors.
Reads:    ratio = median of torch / of harken; cpu ratio = the same of the least processor time, for machines that are not
          quiet; TFLOP/s = 2 * rows * width out * width in / median.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from ...engine.models.layers import linear
from ..record import machine_line
from .compare import Way, ceilings, emit, in_turns

# Width out and in: Whisper base's and SmolLM2-135M's MLPs, and Whisper large's attention.
SHAPES = ((2048, 512), (1536, 576), (1280, 1280))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 500], help="of a batch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="append one JSON line a result")
    args = parser.parse_args()
    device = torch.device("cpu")
    limits, where = ceilings(device), machine_line(device)
    print(where, {name: round(value, 3) for name, value in limits.items()})
    generator = torch.Generator().manual_seed(0)
    for rows in args.rows:
        for num_out, num_in in SHAPES:
            x, weight = (
                torch.randn(rows, num_in, generator=generator),
                torch.randn(num_out, num_in, generator=generator),
            )
            bias = torch.randn(num_out, generator=generator)
            ways: dict[str, Way] = {
                "harken": partial(linear, x, weight, bias),
                "torch": partial(F.linear, x, weight, bias),
            }
            with torch.inference_mode():
                got, wanted = linear(x, weight, bias), F.linear(x, weight, bias)
                off = float((got - wanted).abs().max() / wanted.abs().max())
                if not off <= 1e-5:
                    raise SystemExit(f"FAILED: {rows} x {num_out} x {num_in} is off by {off:.1e}; nothing is timed")
                timings = in_turns(ways, device, rounds=args.rounds)
            for name, t in timings.items():
                ratio, cpu_ratio = t.p50_ms / timings["harken"].p50_ms, t.cpu_ms / timings["harken"].cpu_ms
                tflop_s = 2e-9 * rows * num_out * num_in / t.p50_ms
                print(
                    f"{rows:4} x {num_out} x {num_in} {name:7} {t.p50_ms:8.3f} ms ({t.p20_ms:.3f}..{t.p80_ms:.3f})"
                    f" {tflop_s:.4f} TFLOP/s  x{ratio:.2f}  cpu {t.cpu_ms:.3f} ms x{cpu_ratio:.2f}"
                )
                row = {"op": "linear", "way": name, "dtype": "float32", "rows": rows, "width": f"{num_in}>{num_out}"}
                row |= {"ms_p20": t.p20_ms, "ms_p50": t.p50_ms, "ms_p80": t.p80_ms, "cpu_ms": t.cpu_ms}
                row |= {"tflop_s": tflop_s, "ratio": ratio, "cpu_ratio": cpu_ratio, "repeats": t.repeats}
                emit(where | limits | row, args.out)


if __name__ == "__main__":
    main()
