"""MLPerf's scenarios: harken against transformers on the same weights, in one run.

    python -m harken.bench.latency.run [--lengths mix] [--scenario SingleStream ...] [--boundary samples] [--out FILE]

Question: how long does one sound take, how many arrive in time, how many go through?
Gate:     all systems must give harken's vectors (cosine 0.9999) before anything is timed.
Rivals:   systems.py.
Reads:    SingleStream by its p90, MultiStream (eight clips a query) by its p99, Server by the largest rate of Poisson
          arrivals whose p99 stays under the bound, Offline by its clips a second. The systems take turns within a scenario.
          Warm-up: the gate. Every clip is issued equally often, by fixed seeds.

Source: MLPerf Inference rules; scenarios.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine.load import load
from ..record import save
from .memory import PeakMemory
from .scenarios import (
    SAMPLES_A_QUERY,
    Outcome,
    WallClock,
    equal_issue,
    max_rate,
    multi_stream,
    offline,
    server,
    single_stream,
)
from .systems import BOUNDARIES, SYSTEMS, Served, System, check_agreement, items_of, make_systems
from .workload import Workload, make_workload, write_files

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")


def play(
    scenario: str, system: System, items: Sequence[Any], durations_s: Sequence[float], issues: int, bound_ms: float
) -> Outcome | None:
    """One scenario on one system; None where no rate keeps the server's bound."""
    clock = WallClock()
    order = list(equal_issue(len(items), max(issues, SAMPLES_A_QUERY), seed=0))
    embed = lambda indices: system.embed([items[i] for i in indices])
    if scenario == "SingleStream":
        return single_stream(embed, order, clock)
    if scenario == "MultiStream":
        return multi_stream(embed, order, clock)
    if scenario == "Offline":
        return offline(embed, order, clock)
    served = Served(system, items, durations_s)
    try:
        first = offline(embed, order, clock).samples_per_s / 2
        found = max_rate(lambda rate: server(served.submit, order, rate, clock, seed=1), bound_ms, first, steps=3)
    finally:
        served.close()
    return found[-1] if found else None


def measure(
    systems: Sequence[System], workload: Workload, boundary: str, items: Sequence[Any], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row a scenario and system."""
    rows = []
    for scenario in args.scenario:
        for system in systems:
            with PeakMemory(args.torch_device) as memory:
                outcome = play(scenario, system, items, workload.durations_s, args.issues, args.bound_ms)
            row: dict[str, Any] = {"system": system.name, "boundary": boundary, "lengths": workload.lengths}
            if outcome is None:
                row |= {"scenario": scenario, "samples_per_s": None}
                shown = f"no rate keeps p99 under {args.bound_ms:g} ms"
            else:
                mean_s = sum(workload.durations_s) / len(workload.durations_s)
                row |= outcome.to_dict() | {"audio_s_per_s": outcome.samples_per_s * mean_s}
                shown = f"{outcome.samples_per_s:8.2f} clips/s   p50 {row['p50_ms']:7.0f}   p90 {row['p90_ms']:7.0f}   "
                shown += f"p99 {row['p99_ms']:7.0f} ms"
            row["peak_bytes"] = memory.peak_bytes
            rows.append(row)
            print(f"{scenario:>13} {boundary:>8} {workload.lengths:>7} {system.name:14} {shown}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--device", help="cpu, cuda; default: cuda if there is one")
    parser.add_argument("--dtype")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--boundary", nargs="+", choices=BOUNDARIES, default=list(BOUNDARIES))
    parser.add_argument(
        "--lengths", nargs="+", default=["mix"], help="10s, clotho, mix or any number of seconds such as 3s"
    )
    parser.add_argument("--system", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--clips", type=int, default=8, help="different clips")
    parser.add_argument("--issues", type=int, default=16, help="clips issued a scenario and system")
    parser.add_argument("--bound-ms", type=float, default=2000.0, help="on the Server's p99")
    parser.add_argument("--batch", type=int, default=8, help="clips a batch of 'hf batched'")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    model = load(args.model, recipe=args.recipe, adapter=args.adapter, device=args.device, dtype=args.dtype)
    args.torch_device = model.model.device
    rows: list[dict[str, Any]] = []
    workloads = [make_workload(lengths, args.clips) for lengths in args.lengths]
    with tempfile.TemporaryDirectory() as folder:
        for workload in workloads:
            paths = write_files(workload, Path(folder))
            for boundary in args.boundary:
                items = items_of(workload, boundary, paths, model)
                systems = make_systems(model, args.system, boundary, args.batch)
                check_agreement(systems, items, 0.9999 if args.dtype in (None, "float32") else 0.999)
                rows += measure(systems, workload, boundary, items, args)
    if args.out:
        settings = {
            "device": args.torch_device.type,
            "model": model.fingerprint.to_dict(),
            "workloads": [workload.describe() for workload in workloads],
            **{name: getattr(args, name) for name in ("clips", "issues", "bound_ms", "batch")},
        }
        save(args.out, "scenarios", "MLPerf's scenarios, the systems in turns", settings, rows)


if __name__ == "__main__":
    main()
