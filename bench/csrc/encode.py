"""Whole encodes of a model: libharken beside harken's own torch engine, one and two threads.

    python -m harken.bench.csrc.encode [--model FOLDER --recipe NAME] [--seconds 1 10] [--repeats N]

Question: what does a sound, and what does a batch of sentences, cost in C++, and what do narrow weights win?
Gate:     float32 vectors within 1e-4 of torch's, rounded weights within a cosine; or nothing is timed.
Rival:    harken in Python (torch, float32) on the same weights; bench/latency/encode.py sets that beside transformers.
Reads:    milliseconds, the median of the repeats, ways in turns; resident memory is each library's in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import csrc
from ...engine.export.targets import export
from ...engine.load import load
from .threads import with_threads

DTYPES = ("float32", "bfloat16", "float16", "int8")
MIN_COSINE = {"float32": 0.999999, "bfloat16": 0.999, "float16": 0.9999, "int8": 0.99}
TEXTS = [
    "a dog barks",
    "rain falls on a tin roof while thunder rolls far away",
    "somebody walks over gravel",
    "a bell",
] * 4
_RESIDENT = """
import sys
if sys.argv[1] == "torch":
    import harken
    harken.load(sys.argv[2] or None, recipe=sys.argv[3] or None, device="cpu", dtype="float32").encode_text(["a dog barks"])
else:
    from harken import csrc
    csrc.core().Model(sys.argv[1], num_threads=1).encode_text(["a dog barks"])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


def resident_mib(what: str, model: str, recipe: str) -> int:
    """Largest resident memory of a process that loads and encodes one sentence; mapped weights count once read."""
    command = [sys.executable, "-P", "-c", _RESIDENT, what, model, recipe]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10, 30])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bundles", help=argparse.SUPPRESS)
    args = parser.parse_args()
    model, recipe = args.model or None, args.recipe or None
    if not args.bundles:
        with tempfile.TemporaryDirectory() as folder:
            for dtype in DTYPES:
                export(model, Path(folder) / dtype, to="bundle", recipe=recipe, dtype=dtype)
            given = [
                "--model",
                args.model,
                "--recipe",
                args.recipe,
                "--bundles",
                folder,
                "--repeats",
                str(args.repeats),
            ]
            given += ["--seconds", *map(str, args.seconds)]
            status = with_threads(__spec__.name, given, args.threads)
            for what in ("torch", *(str(Path(folder) / dtype) for dtype in DTYPES)):
                print(f"resident, {Path(what).name:9} {resident_mib(what, args.model, args.recipe):6} MiB", flush=True)
        raise SystemExit(status)

    threads = args.threads[0]
    torch.set_num_threads(threads)
    embedder = load(model, recipe=recipe, device="cpu", dtype="float32")
    encoders: dict[str, Any] = {"torch": embedder}
    encoders |= {d: csrc.core().Model(f"{args.bundles}/{d}", num_threads=threads) for d in DTYPES}
    print(f"{csrc.core().cpu_isa()}, {threads} threads, milliseconds; ratio = torch / libharken in float32")
    rng = np.random.default_rng(0)
    for seconds in args.seconds:
        rate = embedder.sample_rate_hz
        clip = [((0.1 * rng.standard_normal(round(rate * seconds))).astype(np.float32), rate)]
        report(
            f"a sound of {seconds:g} s",
            {name: partial(encoder.encode_audio, clip) for name, encoder in encoders.items()},
            args.repeats,
        )
    for texts in (TEXTS[:1], TEXTS):
        report(
            f"{len(texts)} sentences",
            {name: partial(encoder.encode_text, texts) for name, encoder in encoders.items()},
            args.repeats,
        )


def report(what: str, ways: dict[str, Callable[[], np.ndarray]], repeats: int) -> None:
    """Gate and time one input."""
    want = ways["torch"]()
    for dtype in DTYPES:
        got = ways[dtype]()
        cosine = ((got * want).sum(1) / (np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1))).min()
        if not cosine >= MIN_COSINE[dtype] or (dtype == "float32" and not np.abs(got - want).max() <= 1e-4):
            raise SystemExit(f"FAILED: {what} in {dtype} has cosine {cosine:.6f} to torch; nothing is timed")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - start))
    ms = {name: statistics.median(values) for name, values in times.items()}
    figures = "  ".join(f"{name} {value:7.1f}" for name, value in ms.items())
    print(f"{what:18} {figures}  ratio {ms['torch'] / ms['float32']:.2f}", flush=True)


if __name__ == "__main__":
    main()
