"""Whole encodes of a model: libharken beside torch, ONNX Runtime and OpenVINO, one and two threads.

    python -m harken.bench.csrc.encode [--model FOLDER --recipe NAME] [--seconds 1 10 30] [--repeats N] [--out FILE]

Question: what does a sound, and what does a sentence, cost in C++, and what do narrow weights win?
Gate:     float32 vectors within 1e-4 of torch's, rounded weights within a cosine. A rival that strays or fails is told as
          FAILED and not timed; where libharken strays, nothing is.
Rivals:   harken in Python (torch, float32) on the same weights, which bench/latency/encode.py sets beside transformers; ONNX
          Runtime and OpenVINO on harken's ONNX export, features and prompts made by harken in Python; libharken with its
          network in ONNX Runtime. One that is not installed is named as not run.
Reads:    milliseconds from samples or text to vectors, the ways in turns; ratio = median / that of libharken in float32.
Beside it: bench/csrc/footprint.py, how large the library is and what it takes in memory.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import csrc
from ...engine.embedder import Embedder
from ...engine.export.targets import export
from ...engine.load import load
from ...errors import HarkenError, InputError
from ..latency.encode import smallest_cosine
from ..latency.exported import ExportedGraphs
from ..record import save
from .runtimes import RUNTIMES, onnxruntime_library
from .threads import with_threads

DTYPES = ("float32", "bfloat16", "float16", "int8")
MIN_COSINE = {"float32": 0.999999, "bfloat16": 0.999, "float16": 0.9999, "int8": 0.99}
MAX_DIFFERENCE = 1e-4
OWN = "libharken float32"
TEXTS = [
    "a dog barks",
    "rain falls on a tin roof while thunder rolls far away",
    "somebody walks over gravel",
    "a bell",
] * 4
Vectors = Callable[[], np.ndarray]


@dataclass
class Way:
    """One encoder: vectors of sounds (samples at the model's rate) and of sentences."""

    encode_sounds: Callable[[list[np.ndarray]], np.ndarray]
    encode_texts: Callable[[list[str]], np.ndarray]
    # Of its weights.
    dtype: str = "float32"


@dataclass
class Ways:
    """What can be run here by name, and why the rest cannot."""

    found: dict[str, Way]
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def find_ways(embedder: Embedder, exports: Path, threads: int) -> Ways:
    """Every way, torch first.

    Args:
        exports: a bundle of each of DTYPES, and "onnx" where the graphs could be exported.
    """
    rate = embedder.sample_rate_hz
    timed = lambda encode: lambda sounds: encode([(sound, rate) for sound in sounds])
    ways = Ways({"torch": Way(timed(embedder.encode_audio), embedder.encode_text)})
    for dtype in DTYPES:
        model = csrc.core().Model(str(exports / dtype), num_threads=threads)
        ways.found[f"libharken {dtype}"] = Way(timed(model.encode_audio), model.encode_text, dtype)
    graphs, library = exports / "onnx", onnxruntime_library()
    for name, runtime in RUNTIMES.items():
        try:
            if not graphs.is_dir():
                raise InputError("there is no ONNX export: onnx and onnxscript are not installed")
            rival = ExportedGraphs(graphs, embedder, name, runtime(graphs, threads))
        except InputError as error:
            ways.absent[name] = str(error)
            continue
        ways.found[name] = Way(rival.encode_audio, rival.encode_text)
    second = "libharken in onnxruntime"
    if graphs.is_dir() and library is not None:
        model = csrc.core().Model(
            str(exports / "float32"), num_threads=threads, onnx_folder=str(graphs), onnxruntime_library=str(library)
        )
        ways.found[second] = Way(timed(model.encode_audio), model.encode_text)
    else:
        ways.absent[second] = "wants the ONNX export and the library of onnxruntime"
    return ways


def gate(what: str, calls: dict[str, Vectors], ways: Ways) -> dict[str, float]:
    """Cosine of each way to torch; those that stray or fail are moved to `ways.failed`.

    Raises:
        SystemExit: libharken itself strays.
    """
    want, cosines = calls["torch"](), {"torch": 1.0}
    for name in [name for name in calls if name != "torch"]:
        dtype, reason = ways.found[name].dtype, ""
        try:
            got = calls[name]()
            cosines[name] = smallest_cosine(got, want)
            if not cosines[name] >= MIN_COSINE[dtype]:
                reason = f"cosine {cosines[name]:.6f} to torch"
            elif dtype == "float32" and not np.abs(got - want).max() <= MAX_DIFFERENCE:
                reason = f"off by {np.abs(got - want).max():.1e} from torch"
        except Exception as error:
            # A rival's own failure, of whatever kind, is told in the table.
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if reason and name.startswith("libharken"):
            raise SystemExit(f"FAILED: {name}, {what}: {reason}; nothing is timed")
        if reason:
            ways.failed[name] = f"{what}: {reason}"
            del ways.found[name], calls[name]
    return cosines


def measure(what: str, calls: dict[str, Vectors], ways: Ways, repeats: int) -> list[dict[str, Any]]:
    """Gate and time one input: a row a way."""
    cosines = gate(what, calls, ways)
    ms: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            ms[name].append(1e3 * (time.perf_counter() - start))
    own = statistics.median(ms[OWN])
    return [
        {
            "input": what,
            "threads": torch.get_num_threads(),
            "way": name,
            "ms_min": min(values),
            "ms_median": statistics.median(values),
            "ratio": statistics.median(values) / own,
            "cosine": cosines[name],
        }
        for name, values in ms.items()
    ]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All inputs with one number of threads."""
    torch.set_num_threads(args.threads[0])
    embedder = load(
        args.model or None, recipe=args.recipe or None, adapter=args.adapter or None, device="cpu", dtype="float32"
    )
    ways = find_ways(embedder, Path(args.exports), args.threads[0])
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for seconds in args.seconds:
        sounds = [(0.1 * rng.standard_normal(round(embedder.sample_rate_hz * seconds))).astype(np.float32)]
        calls: dict[str, Vectors] = {name: partial(way.encode_sounds, sounds) for name, way in ways.found.items()}
        rows += told(measure(f"a sound of {seconds:g} s", calls, ways, args.repeats))
    for texts in (TEXTS[:1], TEXTS):
        calls = {name: partial(way.encode_texts, texts) for name, way in ways.found.items()}
        what = "a sentence" if len(texts) == 1 else f"{len(texts)} sentences"
        rows += told(measure(what, calls, ways, args.repeats))
    return {"rows": rows, "absent": ways.absent, "failed": ways.failed, "isa": csrc.core().cpu_isa()}


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, printed."""
    print(f"{rows[0]['input']}, {rows[0]['threads']} threads", flush=True)
    for row in rows:
        print(
            f"  {row['way']:24} min {row['ms_min']:8.1f}  median {row['ms_median']:8.1f} ms  ratio {row['ratio']:5.2f}"
            f"  cosine {row['cosine']:.6f}",
            flush=True,
        )
    return rows


def make_exports(model: str, recipe: str, folder: Path, *, adapter: str = "") -> None:
    """Every bundle and, where the exporter is installed, the graphs; what is there already stays."""
    for name in (*DTYPES, "onnx"):
        target, options = ("onnx", {}) if name == "onnx" else ("bundle", {"dtype": name})
        if (folder / name).exists():
            continue
        try:
            export(model or None, folder / name, to=target, recipe=recipe or None, adapter=adapter or None, **options)
        except HarkenError as error:
            if name != "onnx":
                raise
            print(f"no ONNX export: {error}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--adapter", default="")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10, 30])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--exports", help="folder that keeps the model's exports; default: made anew, thrown away")
    parser.add_argument("--out", type=Path, help="JSON for `harken bench report`")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        args.part.write_text(json.dumps(run(args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        exports = Path(args.exports or scratch)
        make_exports(args.model, args.recipe, exports, adapter=args.adapter)
        parts = []
        for threads in args.threads:
            part = Path(scratch) / f"{threads}.json"
            given = ["--model", args.model, "--recipe", args.recipe, "--adapter", args.adapter]
            given += ["--exports", str(exports), "--part", str(part), "--repeats", str(args.repeats)]
            given += ["--seconds", *map(str, args.seconds)]
            if status := with_threads("harken.bench.csrc.encode", given, [threads]):
                raise SystemExit(status)
            parts.append(json.loads(part.read_text()))
    settings: dict[str, Any] = {"isa": parts[0]["isa"], "repeats": args.repeats, "threads": args.threads}
    settings |= {name: {k: v for part in parts for k, v in part[name].items()} for name in ("absent", "failed")}
    for name, reason in [*settings["absent"].items(), *settings["failed"].items()]:
        print(f"{'FAILED' if name in settings['failed'] else 'not run'}: {name}: {reason}")
    if args.out:
        model = Path(args.model).name or "harken-mini"
        what = f"Whole encodes of {model}, milliseconds from samples or text to vectors"
        save(args.out, "csrc", what, settings, [row for part in parts for row in part["rows"]])
    if settings["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
