"""Clips a second from samples to vectors: harken against transformers on the same checkpoint, in one run.

    python -m harken.bench.latency.encode [--model FOLDER --recipe NAME --adapter FOLDER] [--lengths 1 5 10 30] [--out FILE]

Question: how many clips a second does each way embed, and is harken ever the slower one?
Gate:     every rival's vectors must agree with harken's (cosine) before anything is timed.
Rivals:   "hf published" - one clip at a time through the full class, padded to 30 s, language head on every position;
          "hf batched"   - the same model without its head, clips batched and padded, the best that transformers offers.
          Both get the adapter merged beforehand, so that only the way of running differs.
Reads:    ratio = clips a second of harken / of the rival. The ways take turns within a repetition, so that a busy machine
          slows them alike; the median of the repetitions counts.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.embedder import Embedder
from ...engine.load import load
from .rivals import Qwen2AudioPath

Way = Callable[[list[np.ndarray]], np.ndarray]


def noise_clips(num_clips: int, length_s: float, seed: int = 0) -> list[np.ndarray]:
    """Clips of one length; what they hold does not change what they cost."""
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(round(16000 * length_s))).astype(np.float32) for _ in range(num_clips)]


def ways(model: Embedder, path: Qwen2AudioPath, batch: int) -> dict[str, Way]:
    return {
        "harken": lambda clips: model.encode_audio([(clip, 16000) for clip in clips]),
        "hf published": lambda clips: np.concatenate([path.encode([clip], head=True) for clip in clips]),
        "hf batched": lambda clips: np.concatenate(
            [path.encode(clips[i : i + batch], head=False) for i in range(0, len(clips), batch)]
        ),
    }


def measure(ways: dict[str, Way], clips: list[np.ndarray], repeats: int) -> dict[str, float]:
    """Median clips a second of each way; the first, untimed round is the gate."""
    vectors = {name: way(clips) for name, way in ways.items()}
    for name, got in vectors.items():
        cosine = float((got * vectors["harken"]).sum(1).min())
        if cosine < 0.9999:
            raise SystemExit(f"FAILED: {name} disagrees with harken, smallest cosine {cosine:.6f}; nothing is timed")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way(clips)
            seconds[name].append(time.perf_counter() - start)
    return {name: len(clips) / statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="checkpoint folder of a Qwen2-Audio; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--lengths", type=float, nargs="+", default=[1.0, 3.0, 10.0, 30.0], help="seconds a clip")
    parser.add_argument("--clips", type=int, default=16, help="clips a length")
    parser.add_argument("--batch", type=int, default=8, help="clips a batch of 'hf batched'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args()
    model = load(args.model, recipe=args.recipe, adapter=args.adapter, device="cpu")
    rivals = ways(model, Qwen2AudioPath(model), args.batch)
    rows: list[dict[str, Any]] = []
    result = {
        "what": "clips a second, samples to vectors, float32 on the CPU",
        "model": model.fingerprint.to_dict(),
        "machine": {"cpu": cpu_name(), "threads": torch.get_num_threads()},
        "versions": {"torch": torch.__version__, "python": platform.python_version(), **Qwen2AudioPath.versions()},
        "rows": rows,
    }
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'length':>8} " + " ".join(f"{name:>14}" for name in rivals) + "   ratio to published, to batched")
    for length_s in args.lengths:
        rates = measure(rivals, noise_clips(args.clips, length_s), args.repeats)
        ratios = {name: rates["harken"] / rate for name, rate in rates.items() if name != "harken"}
        rows.append({"length_s": length_s, "clips_per_s": rates, "ratio": ratios})
        figures = " ".join(f"{rate:>12.2f}/s" for rate in rates.values())
        print(f"{length_s:>7g}s {figures}   " + ", ".join(f"{ratio:.1f}x" for ratio in ratios.values()), flush=True)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
