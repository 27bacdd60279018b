"""Time and memory against what grows.

    harken bench growth [--axis length_s ...] [--model FOLDER] [--out FILE]

Question: where does the cost stop being linear?
Axes:     length_s     one clip, of 1 to 30 s
          clips        1 to 16 clips of 2 s, given at once
          candidates   a text and 1 to 50 sounds of 2 s through the reranker, nothing cached
          rows         one query over an index in memory, the best 10
          disk_rows    the same over an index on disk: opened, its pages out of the cache, searched once
          queries      1 to 64 queries at once over 100,000 rows
          k            the best 1 to 1,000 of 100,000 rows
Reads:    the exponent b of  ms = a x^b,  fitted by least squares in the logarithms over all points, and between the last
          two points alone: 1 is linear, 2 quadratic. The points of an axis take turns, so that a busy machine slows all.

Source: own.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.convert.mini import build_mini
from ...engine.embedder import Embedder
from ...engine.index import Index
from ...engine.load import load
from ...engine.placement import pick_device
from ...engine.rerank.load import load_reranker
from ...engine.rerank.reranker import Reranker
from ..kernels.compare import in_turns
from ..record import save
from .memory import PeakMemory
from .rerank import harken_way, make_task
from .workload import RATE_HZ, make_workload

AXES = ("length_s", "clips", "candidates", "rows", "disk_rows", "queries", "k")
DIM = 512
# A point: what grows, and what to run there.
Points = dict[float, Callable[[], object]]


def exponents(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """The exponent fitted over all points, and the one between the last two."""
    x, y = np.log(sizes), np.log(costs)
    over_all = float(np.polyfit(x, y, 1)[0])
    return over_all, float((y[-1] - y[-2]) / (x[-1] - x[-2]))


def by_length(model: Embedder) -> Points:
    """One clip, of 1 to 30 s."""
    return {s: _encode(model, f"{s}s", 1) for s in (1, 2, 4, 8, 16, 30)}


def by_batch(model: Embedder) -> Points:
    """1 to 16 clips of 2 s."""
    return {n: _encode(model, "2s", n) for n in (1, 2, 4, 8, 16)}


def by_candidates(model: Reranker) -> Points:
    """One text and 1 to 50 sounds of 2 s; `model` keeps no audio tokens."""
    tasks = {n: make_task("t2a", n, 2.0) for n in (1, 2, 5, 10, 25, 50)}
    return {n: partial(harken_way, model, task) for n, task in tasks.items()}


def by_rows(max_rows: int = 400_000) -> Points:
    """One query, the best 10, over indexes of growing size."""
    corpus = _unit(max_rows)
    sizes = [max_rows >> shift for shift in (5, 4, 3, 2, 1, 0)]
    return {n: _search(Index.build(corpus[:n]), 1, 10) for n in sizes}


def by_disk_rows(folder: Path, max_rows: int = 200_000) -> Points:
    """As `by_rows` with indexes on disk, written into `folder`."""
    corpus = _unit(max_rows)
    points: Points = {}
    for n in (max_rows >> shift for shift in (4, 3, 2, 1, 0)):
        path = folder / f"{n}.harken"
        Index.build(corpus[:n]).save(path)
        points[n] = partial(_open_and_search, path)
    return points


def by_queries(num_rows: int = 100_000) -> Points:
    """1 to 64 queries at once over 100,000 rows."""
    index = Index.build(_unit(num_rows))
    return {q: _search(index, q, 10) for q in (1, 4, 16, 64)}


def by_k(num_rows: int = 100_000) -> Points:
    """The best 1 to 1,000 of 100,000 rows."""
    index = Index.build(_unit(num_rows))
    return {k: _search(index, 1, k) for k in (1, 10, 100, 1000)}


def measure(axis: str, points: Points, device: torch.device, rounds: int) -> list[dict[str, Any]]:
    """One row a point, with the exponents of the axis in each."""
    timings = in_turns({str(size): way for size, way in points.items()}, device, rounds=rounds, warmup=1)
    rows: list[dict[str, Any]] = []
    for size, way in points.items():
        with PeakMemory(device) as memory:
            way()
        rows.append({"axis": axis, "size": size, "ms": timings[str(size)].p50_ms, "bytes": memory.peak_bytes})
    over_all, last = exponents(list(points), [row["ms"] for row in rows])
    return [{**row, "exponent": over_all, "last_exponent": last} for row in rows]


def _encode(model: Embedder, lengths: str, num_clips: int) -> Callable[[], object]:
    sounds = [(clip, RATE_HZ) for clip in make_workload(lengths, num_clips).clips]
    return lambda: model.encode_audio(sounds)


def _search(index: Index, num_queries: int, k: int) -> Callable[[], object]:
    queries = _unit(num_queries, seed=1)
    return lambda: index.search(queries, k)


def _open_and_search(path: Path) -> object:
    for file in path.rglob("*"):
        if file.is_file() and hasattr(os, "posix_fadvise"):
            with file.open("rb") as held:
                os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return Index.open(path).search(_unit(1, seed=1), 10)


def _unit(num_rows: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num_rows, DIM), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _points(axis: str, args: argparse.Namespace, folder: Path) -> Points:
    if axis in ("length_s", "clips"):
        model = load(args.model, recipe=args.recipe, device=args.device)
        return by_length(model) if axis == "length_s" else by_batch(model)
    if axis == "candidates":
        return by_candidates(load_reranker(args.model or build_mini(), device=args.device, cache_bytes=0))
    if axis == "disk_rows":
        return by_disk_rows(folder)
    return {"rows": by_rows, "queries": by_queries, "k": by_k}[axis]()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axis", choices=AXES, nargs="+", default=list(AXES), help="default: all")
    parser.add_argument("--model", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe", help="of the model; that of the reranker is found")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda if there is one")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    device = pick_device(args.device)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for axis in args.axis:
            # An index is searched on the host, wherever the models are.
            where = device if axis in ("length_s", "clips", "candidates") else torch.device("cpu")
            found = measure(axis, _points(axis, args, Path(folder)), where, args.rounds)
            rows += found
            shown = "  ".join(f"{row['size']:g}: {row['ms']:.3g}" for row in found)
            over_all, last = found[0]["exponent"], found[0]["last_exponent"]
            print(f"{axis:>10}  ms {shown}   exponent {over_all:.2f}, at the end {last:.2f}", flush=True)
            if not math.isfinite(over_all):
                raise SystemExit(f"FAILED: {axis} has no exponent")
    if args.out:
        save(args.out, "growth", "time and memory against size", {"device": device.type}, rows)


if __name__ == "__main__":
    main()
