"""Clips a second from samples to vectors: harken against transformers on the same weights, in one run.

    harken bench encode                                     # the built-in model on this machine
    harken bench encode --arch omni-3b --lengths 10 clotho  # full size, random weights
    harken bench encode --arch omni-3b --tiny               # the same as a toy, to try it out

Question: how many clips a second does each way embed, one at a time and all at once, and is harken ever the slower one?
Gate:     every rival's vectors must agree with harken's (cosine) before anything is timed.
Rivals:   "hf published"  - a clip at a time through the full class, features as long as the front end's window (30 or
          300 s), language head on every position;
          "hf own length" - the same with features of the clip's own length, where the model takes them;
          "hf batched"    - clips batched and padded, no language head, the best that transformers offers.
Reads:    ratio = clips a second of harken / of the rival. The ways take turns within a repetition, so that a busy machine
          slows them alike; the median of the repetitions counts. MFU = FLOPs of packed clips from the configuration (cost.py)
          over the seconds, against a large product of the same dtype measured on this machine. Peak memory is what a way
          takes above the weights; on a CPU, what it takes above what the ways before it took.

"clotho" stands for clips of 15 to 30 s, the lengths of Clotho. MiDashengLM has no class in transformers: harken alone is timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.embedder import Embedder
from ...engine.load import load
from ...engine.models.cost import encode_flops, floor_bytes, weight_bytes
from ...engine.models.layers import linear
from ...engine.models.mllm import AudioLM
from ...engine.placement import DTYPES, pick_device, pick_dtype
from ..record import cpu_name, save
from .architectures import ARCHS, build
from .memory import PeakMemory
from .rivals import Qwen2AudioPath, TransformersPath
from .workload import RATE_HZ, make_workload

Way = Callable[[list[np.ndarray]], np.ndarray]
# Smallest cosine to harken's vectors at which a rival is timed.
MIN_COSINE = {"float32": 0.9999, "bfloat16": 0.99, "float16": 0.99}
MIN_COSINE_FLOAT8 = 0.9


def noise_clips(num_clips: int, length_s: float | str, seed: int = 0) -> list[np.ndarray]:
    """Clips of one length, or of Clotho's lengths; what they hold does not change what they cost."""
    lengths = "clotho" if length_s == "clotho" else f"{length_s}s"
    return make_workload(lengths, num_clips, seed).clips


def ways(model: Embedder, rival: TransformersPath | None, batch: int, *, own_length: bool) -> dict[str, Way]:
    """What is timed, by name; "one by one" ways give the clips singly."""
    one_by_one = lambda encode: lambda clips: np.concatenate([encode([clip]) for clip in clips])
    harken: Way = lambda clips: model.encode_audio([(clip, RATE_HZ) for clip in clips])
    found: dict[str, Way] = {"harken": harken, "harken one by one": one_by_one(harken)}
    if rival is not None:
        found["hf published"] = one_by_one(lambda clips: rival.encode(clips, head=True))
        if own_length:
            found["hf own length"] = one_by_one(lambda clips: rival.encode(clips, head=True, own_length=True))
        found["hf batched"] = lambda clips: np.concatenate(
            [rival.encode(clips[i : i + batch], head=False, own_length=own_length) for i in range(0, len(clips), batch)]
        )
    return found


def smallest_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the rows of two arrays of vectors [n, d]."""
    return float(((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def measure(
    ways: dict[str, Way], clips: list[np.ndarray], repeats: int, *, min_cosine: float, device: torch.device
) -> dict[str, dict[str, float]]:
    """Seconds a round and peak bytes of each way; the first, untimed round is warm-up and gate."""
    rows: dict[str, dict[str, float]] = {}
    vectors: dict[str, np.ndarray] = {}
    for name, way in ways.items():
        with PeakMemory(device) as memory:
            vectors[name] = way(clips)
        cosine = smallest_cosine(vectors[name], vectors["harken"])
        if not cosine >= (MIN_COSINE_FLOAT8 if name.endswith("float8") else min_cosine):
            raise SystemExit(f"FAILED: {name} disagrees with harken, smallest cosine {cosine:.6f}; nothing is timed")
        rows[name] = {"peak_bytes": memory.peak_bytes, "cosine": cosine}
        if name.startswith("harken"):
            # Graphs are recorded when a batch comes for the second time.
            way(clips)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way(clips)
            seconds[name].append(time.perf_counter() - start)
    return {name: {"s": statistics.median(seconds[name]), **row} for name, row in rows.items()}


@torch.inference_mode()
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a large product: the ceiling that MFU is told against."""
    size, rounds = (8192, 20) if device.type == "cuda" else (1536, 4)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(rounds):
            c = linear(a, b, None)
        float(c[0, 0])
        best = min(best, (time.perf_counter() - start) / rounds)
    return 2.0 * size**3 / best


def float8_cosines(plain: Embedder, narrow: Embedder, clips: list[np.ndarray]) -> dict[str, float]:
    """Smallest cosines of sounds and texts between a model and the same with 8-bit linear layers."""
    texts = ["a dog barks", "rain falls on a tin roof while somebody speaks", "music"]
    sounds = [(clip, RATE_HZ) for clip in clips]
    return {
        "audio": smallest_cosine(plain.encode_audio(sounds), narrow.encode_audio(sounds)),
        "text": smallest_cosine(plain.encode_text(texts), narrow.encode_text(texts)),
    }


def _length(word: str) -> str:
    if word != "clotho" and not float(word) > 0:
        raise ValueError
    return word


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench encode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", choices=ARCHS, help="published sizes, random weights; default: a checkpoint")
    parser.add_argument("--tiny", action="store_true", help="with --arch: a toy of the same kind")
    parser.add_argument("--model", help="checkpoint folder of a Qwen2-Audio; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda if there is one")
    parser.add_argument("--dtype", choices=list(MIN_COSINE), help="default: float32 on a CPU, bfloat16 on CUDA")
    parser.add_argument(
        "--lengths", nargs="+", type=_length, default=["1", "3", "10", "30"], help='seconds a clip, or "clotho"'
    )
    parser.add_argument("--clips", type=int, default=16, help="clips a length")
    parser.add_argument("--batch", type=int, default=8, help="clips a batch of 'hf batched'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--float8", action="store_true", help="with --arch: time 8-bit linear layers too")
    parser.add_argument("--compile", action="store_true", help="with --arch: harken's layers through torch.compile")
    parser.add_argument("--no-graphs", action="store_true", help="with --arch: harken without CUDA graphs")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    device = pick_device(args.device)
    dtype = pick_dtype(args.dtype, device)
    narrow: Embedder | None = None
    rival: TransformersPath | None
    if args.arch:
        made = build(args.arch, device=device, dtype=DTYPES[dtype], tiny=args.tiny)
        options = {"graphs": False if args.no_graphs else None, "compile": args.compile}
        model = made.embedder(dtype, **options)
        rival = made.rival(model)
        narrow = made.embedder("float8", **options) if args.float8 else None
    else:
        if device.type != "cpu" or dtype != "float32":
            raise SystemExit("without --arch the comparison is in float32 on the CPU: add --device cpu")
        model = load(args.model, recipe=args.recipe, adapter=args.adapter, device="cpu")
        rival = Qwen2AudioPath(model)
    assert isinstance(model.model, AudioLM)
    compared = ways(model, rival, args.batch, own_length=bool(args.arch and args.arch.startswith("omni")))
    ceiling = peak_flops(device, DTYPES[dtype])
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    weights, floor = weight_bytes(model.model), floor_bytes(model.model)
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {
        "arch": args.arch, "tiny": args.tiny, "model": model.fingerprint.to_dict(), "device": str(device),
        "dtype": dtype, "clips": args.clips, "batch": args.batch, "repeats": args.repeats,
        "graphs": not args.no_graphs and device.type == "cuda", "compile": args.compile,
        "product_flops": ceiling, "weight_bytes": weights, "floor_bytes": floor,
    }  # fmt: skip
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {dtype}")
    print(
        f"weights {weights / 1e6:.1f} MB, {weights / floor:.3f} of the floor; large product {ceiling / 1e12:.2f} TFLOP/s"
    )
    if narrow is not None:
        cosines = float8_cosines(model, narrow, noise_clips(4, args.lengths[0], seed=1))
        settings["float8_cosines"] = cosines
        print("float8 to " + dtype + ": " + ", ".join(f"{name} {value:.5f}" for name, value in cosines.items()))
        vectors_of = narrow.encode_audio
        compared["harken float8"] = lambda clips: vectors_of([(clip, RATE_HZ) for clip in clips])
    for length in args.lengths:
        clips = noise_clips(args.clips, length)
        measured = measure(compared, clips, args.repeats, min_cosine=MIN_COSINE[dtype], device=device)
        nums_samples = [len(clip) for clip in clips]
        flops = encode_flops(model.model, nums_samples, [len(model.audio_prompt(n)) for n in nums_samples])
        print(f"\n{length if length == 'clotho' else length + ' s'}")
        for name, row in measured.items():
            row["clips_per_s"], row["ms_per_clip"] = len(clips) / row["s"], 1000 * row["s"] / len(clips)
            row["mfu"] = flops / row["s"] / ceiling
            row["ratio"] = row["s"] / measured["harken"]["s"]
            print(
                f"  {name:<18}{row['clips_per_s']:>10.2f} clips/s {row['ms_per_clip']:>9.2f} ms/clip"
                f" {100 * row['mfu']:>6.1f} % MFU {row['peak_bytes'] / 1e6:>9.1f} MB   harken is {row['ratio']:.2f}x",
                flush=True,
            )
            rows.append({"length": length, "way": name, **row})
    if args.out:
        save(args.out, "encode", f"clips a second, samples to vectors, {dtype} on {device.type}", settings, rows)


if __name__ == "__main__":
    main()
