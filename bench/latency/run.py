"""MLPerf's scenarios: harken against what a user would run instead, in one run.

    harken bench run                                                  sounds, the built-in model on this machine
    harken bench run --what audio text --arch omni-3b                 published sizes, random weights
    harken bench run --what rerank --candidates 50                    one query and its candidates a sample
    harken bench run --what search --rows 1000000 10000000            one query's vector a sample

Question: how long does one sample take, how many arrive in time, how many go through?
Gate:     a system must give harken's answers before it is timed (cosine 0.9999 of vectors in float32, 0.99 in half precision;
          scores within 1e-4 or 2e-2; 98 % of the rows found). One that does not is printed as FAILED, left out, and the run
          ends with an error.
Systems:  audio and text: embedding.py; rerank: rerank_case.py; search: search_case.py (indexes in host memory). One that
          cannot be run here is printed with the reason.
Reads:    SingleStream by its p90, MultiStream (eight samples a query) by its p99, Server by the largest rate of Poisson
          arrivals whose p99 stays under the bound, Offline by its samples a second, with tokens a second (padding is not
          counted) and MFU: FLOPs that the configuration asks of unpadded samples, against a large product of the same dtype
          measured here. The systems play a scenario one after the other. Warm-up: the gate; on CUDA, and for what is compiled,
          also every scenario played twice, so that graphs are recorded. Every sample is issued equally often, by fixed seeds.

Source: MLPerf Inference rules; scenarios.py.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...engine.embedder import Embedder
from ...engine.load import load
from ...engine.placement import DTYPES, pick_device, pick_dtype
from ...errors import InputError
from ..record import save
from . import embedding, rerank_case, search_case
from .architectures import ARCHS, build
from .encode import peak_flops
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
from .systems import Case, Served, System, gate
from .workload import make_sentences, make_workload, write_files

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
WHAT = ("audio", "text", "rerank", "search")
SYSTEMS = tuple(dict.fromkeys((*embedding.SYSTEMS, *rerank_case.SYSTEMS, *search_case.SYSTEMS)))


def play(scenario: str, system: System, case: Case, issues: int, bound_ms: float, *, warm: bool) -> Outcome | None:
    """One scenario on one system; None where no rate keeps the server's bound. `warm`: play it untimed first, twice."""
    clock = WallClock()
    order = list(equal_issue(len(case.items), max(issues, SAMPLES_A_QUERY), seed=0))
    answer = lambda indices: system.answer([case.items[i] for i in indices])
    streams = {"SingleStream": single_stream, "MultiStream": multi_stream, "Offline": offline}
    for _ in range(2 if warm else 0):
        streams.get(scenario, offline)(answer, order, clock)
    if scenario in streams:
        return streams[scenario](answer, order, clock)
    served = Served(system, case)

    def at(rate_per_s: float) -> Outcome:
        """Arrivals go on for three times the bound, or a queue that grows would not be noticed."""
        num = max(len(order), math.ceil(3e-3 * bound_ms * rate_per_s))
        return server(served.submit, list(equal_issue(len(case.items), num, seed=0)), rate_per_s, clock, seed=1)

    try:
        first = offline(answer, order, clock).samples_per_s / 2
        found = max_rate(at, bound_ms, first, steps=3)
    finally:
        served.close()
    return found[-1] if found else None


def measure(
    case: Case, scenarios: Sequence[str], device: torch.device, *, issues: int, bound_ms: float, ceiling_flops: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row a scenario and system, and the reason for each system that did not pass the gate.

    Args:
        case: samples and systems.
        device: where the systems take memory.
        issues: samples issued a scenario and system, rounded up to whole passes over the samples.
        bound_ms: on the Server's p99.
        ceiling_flops: FLOPs a second that MFU is told against.
    """
    systems, near, failed = gate(case)
    rows = []
    for scenario in scenarios:
        for system in systems:
            with PeakMemory(device) as memory:
                warm = device.type == "cuda" or system.compiles
                outcome = play(scenario, system, case, issues, bound_ms, warm=warm)
            row: dict[str, Any] = {"what": case.what, "workload": case.workload, "boundary": case.boundary}
            row |= {"system": system.name, "scenario": scenario, "samples_per_s": None}
            if outcome is not None:
                row |= outcome.to_dict()
            if outcome is not None and scenario == "Offline":
                row |= case.rates(outcome.samples_per_s, ceiling_flops)
            row |= {"peak_bytes": memory.peak_bytes, "agreement": near[system.name]}
            rows.append(row)
            print(line_of(row, bound_ms), flush=True)
    return rows, failed


def line_of(row: dict[str, Any], bound_ms: float) -> str:
    """A row as it is printed."""
    name = f"{row['scenario']:>13} {row['boundary']:>8} {row['workload']:>14} {row['system']:21}"
    if row["samples_per_s"] is None:
        return f"{name} no rate keeps p99 under {bound_ms:g} ms"
    shown = f"{name} {row['samples_per_s']:9.2f} samples/s"
    if row["scenario"] != "Offline":
        return shown + "".join(f"   p{p} {row[f'p{p}_ms']:8.1f}" for p in (50, 90, 99)) + " ms"
    shown += f"   {row['tokens_per_s']:.0f} tokens/s" if "tokens_per_s" in row else ""
    return shown + (f"   {100 * row['mfu']:.1f} % MFU" if "mfu" in row else "")


def cases_of(args: argparse.Namespace, models: "Models", folder: Path) -> Iterator[Case]:
    """The cases that are asked for, one at a time; those that cannot be made are told in `models.absent`."""
    for what in args.what:
        if what == "search":
            for num_rows in args.rows:
                make = partial(search_case.search_case, num_rows, args.width, args.samples, args.system)
                yield from models.tried(f"search, {num_rows:,} rows", make)
        elif what == "rerank":
            for direction in args.direction:
                yield from models.tried(f"rerank, {direction}", partial(models.rerank, direction))
        elif what == "text":
            sentences = make_sentences(args.samples)
            yield from models.tried("text", partial(embedding.text_case, sentences, models.rivals()))
        else:
            for lengths in args.lengths:
                workload = make_workload(lengths, args.samples)
                models.workloads.append(workload.describe())
                paths = write_files(workload, folder)
                for boundary in args.boundary:
                    make = partial(embedding.audio_case, workload, boundary, paths, models.rivals())
                    yield from models.tried(f"{lengths}, {boundary}", make)


class Models:
    """What the cases are made of, loaded when first asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._rivals: embedding.Rivals | None = None
        self._rerankers: Any = None
        self.device = pick_device(args.device)
        self.dtype = pick_dtype(args.dtype, self.device)
        # Cases and systems that are not to be had, and why.
        self.absent: dict[str, str] = {}
        self.workloads: list[dict[str, Any]] = []

    @property
    def fingerprint(self) -> dict[str, Any] | None:
        """Of the model of sounds and texts, where one was loaded."""
        return None if self._rivals is None else self._rivals.model.fingerprint.to_dict()

    def tried(self, name: str, make: Callable[[], Case]) -> Iterator[Case]:
        """The case, or none and its reason."""
        try:
            case = make()
        except InputError as error:
            self.absent[name] = str(error)
            print(f"not run: {name}: {error}", flush=True)
            return
        for system, reason in case.absent.items():
            told = system if self.absent.get(system, reason) == reason else f"{system} ({case.boundary})"
            if told not in self.absent:
                print(f"not run: {told}: {reason}", flush=True)
            self.absent[told] = reason
        yield case

    def rivals(self) -> embedding.Rivals:
        """Of sounds and texts."""
        if self._rivals is None:
            a = self._args
            options = embedding.Options(a.system, a.batch, a.compile, a.onnx, a.aoti, a.st)
            if a.arch:
                made = build(a.arch, device=self.device, dtype=DTYPES[self.dtype], tiny=a.tiny)
                model: Embedder = made.embedder(self.dtype)
                self._rivals = embedding.Rivals(model, options, lambda: made.rival(model))
            else:
                model = load(a.model, recipe=a.recipe, adapter=a.adapter, device=a.device, dtype=a.dtype)
                self._rivals = embedding.Rivals(model, options, None)
        return self._rivals

    def rerank(self, direction: Any) -> Case:
        """Queries of one direction."""
        a = self._args
        if a.arch:
            raise InputError("wants a checkpoint with an output layer: --model FOLDER, not --arch")
        if self._rerankers is None:
            self._rerankers = rerank_case.load_rerankers(a.model, a.adapter, a.device, a.dtype)
        model, heard, rival = self._rerankers
        return rerank_case.rerank_case(
            model, heard, rival, direction, num_queries=a.samples, num_candidates=a.candidates, length_s=a.length,
            batch=a.batch, names=a.system,
        )  # fmt: skip


def positive_count(word: str) -> int:
    if not int(word) >= 1:
        raise ValueError
    return int(word)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", nargs="+", choices=WHAT, default=["audio"], help="default: audio")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="default: all")
    parser.add_argument(
        "--system",
        nargs="+",
        choices=SYSTEMS,
        metavar="NAME",
        default=list(SYSTEMS),
        help="default: all; harken is always there; " + ", ".join(map(repr, SYSTEMS)),
    )
    parser.add_argument("--model", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--arch", choices=ARCHS, help="in the place of --model: published sizes, random weights")
    parser.add_argument("--tiny", action="store_true", help="with --arch: a toy of the same kind")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda if there is one")
    parser.add_argument("--dtype", choices=list(DTYPES), help="default: float32 on a CPU, bfloat16 on CUDA")
    parser.add_argument("--samples", type=positive_count, default=8, help="different samples")
    parser.add_argument(
        "--issues", type=positive_count, default=16, help="samples issued a scenario and system, at least 8"
    )
    parser.add_argument("--bound-ms", type=float, default=2000.0, help="on the Server's p99")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    audio = parser.add_argument_group("audio and text")
    audio.add_argument("--boundary", nargs="+", choices=embedding.BOUNDARIES, default=list(embedding.BOUNDARIES))
    audio.add_argument("--lengths", nargs="+", default=["mix"], help="clotho, mix, or seconds such as 10s")
    audio.add_argument(
        "--batch", type=positive_count, default=8, help="samples (rerank: pairs) a batch of the rivals that batch"
    )
    audio.add_argument("--compile", action="store_true", help="time 'hf batched compiled' too; compiling takes minutes")
    audio.add_argument("--onnx", type=Path, metavar="FOLDER", help="of harken export --to onnx, of the same model")
    audio.add_argument("--aoti", type=Path, metavar="FOLDER", help="of harken export --to aoti, of the same model")
    audio.add_argument("--st", type=Path, metavar="FOLDER", help="of harken export --to hf: for sentence-transformers")
    rerank = parser.add_argument_group("rerank")
    rerank.add_argument("--candidates", type=positive_count, default=50, help="of a query")
    rerank.add_argument("--length", type=float, default=10.0, help="seconds a clip")
    rerank.add_argument("--direction", nargs="+", choices=("t2a", "a2t"), default=["t2a"])
    search = parser.add_argument_group("search")
    search.add_argument("--rows", type=positive_count, nargs="+", default=[1_000_000, 10_000_000], help="of the index")
    search.add_argument("--width", type=positive_count, default=512, help="of a vector")
    args = parser.parse_args(arguments)
    models = Models(args)
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    # Products are what sounds and texts take, and only Offline tells them.
    told = "Offline" in args.scenario and {"audio", "text"} & set(args.what)
    ceiling = peak_flops(models.device, DTYPES[models.dtype]) if told else 0.0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases_of(args, models, Path(folder)):
            device = torch.device("cpu") if case.what == "search" else models.device
            found, wrong = measure(
                case, args.scenario, device, issues=args.issues, bound_ms=args.bound_ms, ceiling_flops=ceiling
            )
            rows += found
            for name, reason in wrong.items():
                failed[f"{name} ({case.boundary})"] = reason
                print(f"FAILED: {name} ({case.boundary}): {reason}; it is not timed", flush=True)
    if args.out and rows:
        settings = {
            "device": models.device.type, "dtype": models.dtype, "arch": args.arch, "tiny": args.tiny,
            "model": models.fingerprint, "workloads": models.workloads, "absent": models.absent, "failed": failed,
            "product_flops": ceiling,
            **{name: getattr(args, name) for name in ("samples", "issues", "bound_ms", "batch", "compile")},
        }  # fmt: skip
        of = args.arch or ("the built-in model" if args.model is None else Path(args.model).name)
        what = f"MLPerf's scenarios, {', '.join(args.what)}: {of}{', a toy of its kind' if args.tiny else ''}"
        save(args.out, "scenarios", f"{what}, {models.dtype} on {models.device.type}", settings, rows)
    if failed or not rows:
        raise SystemExit("FAILED: see above" if failed else "nothing was measured; see above")


if __name__ == "__main__":
    main()
