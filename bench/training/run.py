"""Samples a second of training: harken against the trainers that a user would take instead, in one run.

    harken bench train                                            the built-in model, noise of 10 s, on this machine
    harken bench train --data DIR --lengths mix                   sounds and captions of a manifest, or noise of other lengths
    harken bench train --arch omni-7b --batch 16 --steps 2        AuroLA's setting, random weights, for a GPU

Question: how many pairs a second does each trainer take through forward, backward and optimizer, and in what memory?
Gate:     one step of each from the same weights on the same batch: in float32 the loss within 1e-4 of harken's and the
          gradient's cosine 0.999. Features of a frozen tower are kept in float16, so harken's own tower stands for harken and
          ways that take kept features have 1e-3; in bfloat16 all have 2e-2 and 0.95. Who fails is printed as FAILED and not
          timed.
Systems:  "harken"                    the training loop's step: prompts of near lengths together, LoRA merged, norms as one
                                      operation, a frozen tower's outputs kept ("kept_s" is what that took, once)
          "harken, grad cache"        the same in two passes, memory of one group
          "harken, tower each step"   a frozen tower run on every batch
          rivals                      rivals.py: sentence-transformers with and without its cached loss, HF Trainer
Reads:    systems take turns, --rounds times; a turn is one step to begin with and --steps that count. Samples a second are
          batch / median step; "ratio" is harken's to the system's. Peak memory is what a turn takes above the model, harken's
          with its merged copy of the weights; on a CPU peaks shorter than 5 ms are missed. Same model, LoRA, heads, loss
          (symmetric InfoNCE over the whole batch), pairs, batch, AdamW, clipping and precision for all. harken draws the next
          batch in a thread beside the step; --workers gives the rivals processes for that.

Source: own; AuroLA's published figure: arXiv 2602.18010, table 10.
"""

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ...engine.placement import pick_device
from ...errors import InputError
from ...training.config import TrainSettings, settings_from
from ..latency.memory import PeakMemory
from ..latency.run import positive_count
from ..record import save
from .case import STAGES, Case, open_case, open_model, write_pairs
from .rivals import rival_systems
from .systems import System, gate, harken_systems

ARCHS = {"omni-3b": "aurola-3b", "omni-7b": "aurola-7b"}
PUBLISHED = {
    "system": "published: AuroLA, 7B, both LoRAs, 10 s clips, one H200",
    "samples_per_s": 1.71,
    "source": "arXiv 2602.18010, table 10",
}


def measure(
    case: Case, systems: Sequence[System], *, steps: int, rounds: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row a system that passed the gate, and the reason for each that did not or that could not go on.

    Args:
        systems: as `gate` wants them.
        steps: that count in a turn.
        rounds: turns of each system.
    """
    near, failed = gate(systems, case.settings.run.dtype)
    seconds: dict[str, list[float]] = {name: [] for name in near}
    peaks = dict.fromkeys(near, 0)
    for turn in range(rounds):
        for system in systems:
            if system.name not in seconds:
                continue
            _release_memory()
            try:
                with PeakMemory(case.device) as memory:
                    seconds[system.name] += system.seconds(turn * (steps + 1), steps)
            except torch.OutOfMemoryError:
                failed[system.name] = f"out of memory at a batch of {case.batch}"
                del seconds[system.name]
                continue
            peaks[system.name] = max(peaks[system.name], memory.peak_bytes + system.held_bytes)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    rows = []
    for system in systems:
        if system.name not in medians:
            continue
        median = medians[system.name]
        row: dict[str, Any] = {"stage": case.settings.stage, "system": system.name}
        row |= {"samples_per_s": case.batch / median, "ratio": None}
        if "harken" in medians:
            row["ratio"] = median / medians["harken"]
        row |= {"min_step_s": min(seconds[system.name]), "median_step_s": median, "peak_bytes": peaks[system.name]}
        row |= asdict(near[system.name])
        row["kept_s"] = case.kept_s if system.is_rounded else None
        rows.append(row)
    return rows, failed


def line_of(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    ratio = f"{row['ratio']:6.2f}" if row["ratio"] is not None else "      "
    return (
        f"{row['stage']:>10} {row['system']:35} {row['samples_per_s']:8.2f} samples/s {ratio} times harken's seconds   "
        f"step {row['median_step_s']:7.3f} s, at least {row['min_step_s']:7.3f}   {row['peak_bytes'] / 2**20:7.0f} MiB   "
        f"loss {row['loss']:.4f}, gradient's cosine {row['gradient_cosine']:.6f}"
    )


def settings_of(args: argparse.Namespace, data: Path, out: Path) -> TrainSettings:
    """The run that all systems share; the stage is changed for each case."""
    parts = args.parts or (["decoder", "tower"] if args.arch else ["decoder"])
    run = dict(
        dtype=args.dtype, autocast=args.dtype == "bfloat16", gradient_checkpointing=args.checkpointing,
        max_tokens=args.max_tokens, device=args.device, threads=args.threads, tensorboard=False,
    )  # fmt: skip
    return settings_from(
        dict(
            stage=STAGES[0],
            model=str(args.model or "mini"),
            out=str(out),
            recipe=args.recipe or (ARCHS[args.arch] if args.arch else "harken-mini"),
            data=dict(train=[dict(dataset="manifest", path=str(data), split="train")]),
            batch=dict(batch_size=args.batch),
            lora=dict(rank=args.rank, alpha=2.0 * args.rank, parts=parts),
            loss=dict(tau=0.05),
            optim=dict(lr=1e-5, schedule="constant", max_grad_norm=1.0),
            run=run,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = args.data or write_pairs(folder / "sounds", args.lengths, 2 * args.batch)
        settings = settings_of(args, data, folder)
        embedder = open_model(settings, args.arch, tiny=args.tiny)
        for stage in args.stage:
            case = open_case(replace(settings, stage=stage), embedder)
            systems = [*harken_systems(case), *rival_systems(case, micro_batch=args.micro_batch, workers=args.workers)]
            found, broken = measure(case, systems, steps=args.steps, rounds=args.rounds)
            rows += found
            failed |= {f"{stage}, {system}": reason for system, reason in broken.items()}
            for row in found:
                print(line_of(row), flush=True)
    for system, reason in failed.items():
        print(f"FAILED: {system}: {reason}; it is not timed", flush=True)
    if args.out and rows:
        of = args.arch or ("the built-in model" if args.model is None else args.model.name)
        told = {
            k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("out", "data", "model")
        }
        absent = {} if args.device.startswith("cuda") else {"on a GPU": "not measured"}
        more = {"lora": asdict(settings.lora), "published": PUBLISHED, "absent": absent, "failed": failed}
        sounds = args.lengths if args.data is None else args.data.name
        what = f"Training: {of}{', a toy of its kind' if args.tiny else ''}, batches of {args.batch}, sounds: {sounds}"
        save(args.out, "train", f"{what}, {args.dtype} on {torch.device(args.device).type}", {**told, **more}, rows)
    if failed or not rows:
        raise SystemExit("FAILED: see above" if failed else "nothing was measured; see above")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; what does not fit together is refused."""
    parser = argparse.ArgumentParser(
        prog="harken bench train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", nargs="+", choices=STAGES, help="default: both; with --arch: audio-text")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the built-in model")
    parser.add_argument("--arch", choices=list(ARCHS), help="in the place of --model: published sizes, random weights")
    parser.add_argument("--tiny", action="store_true", help="with --arch: a toy of the same kind")
    parser.add_argument("--recipe", help="default: harken-mini; with --arch AuroLA's")
    parser.add_argument("--data", type=Path, help="folder with manifest.jsonl; default: noise and words")
    parser.add_argument("--lengths", default="10s", help="of the noise: clotho, mix, or seconds such as 10s")
    parser.add_argument("--batch", type=positive_count, default=16, help="pairs a step")
    parser.add_argument("--steps", type=positive_count, default=3, help="steps of a turn that count")
    parser.add_argument("--rounds", type=positive_count, default=3, help="turns of each system")
    parser.add_argument(
        "--rank", type=positive_count, help="of LoRA, alpha is twice that; default: 16, with --arch 128"
    )
    parser.add_argument("--parts", nargs="+", help="of LoRA; default: decoder, with --arch decoder and tower")
    parser.add_argument("--max-tokens", type=positive_count, default=2048, help="padded tokens of harken's groups")
    parser.add_argument("--micro-batch", type=positive_count, default=8, help="pairs of the cached loss's groups")
    parser.add_argument("--checkpointing", action="store_true", help="all keep no activations inside the layers")
    parser.add_argument("--workers", type=int, default=0, help="processes that read and pad the rivals' batches")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda if there is one")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: float32 on a CPU, bfloat16 on CUDA")
    parser.add_argument("--threads", type=positive_count, help="default: torch's")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(argv)
    if args.arch and (args.model or args.parts or args.recipe):
        raise InputError(
            "harken bench train: --arch has its own model, parts and recipe; wanted none of these beside it"
        )
    if args.tiny and not args.arch:
        raise InputError("harken bench train: --tiny is a toy of --arch; give that, or --model with a small checkpoint")
    device = pick_device(args.device)
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        raise InputError(
            "harken bench train: the other trainers would take every GPU; choose one by CUDA_VISIBLE_DEVICES"
        )
    args.device = str(device)
    args.dtype = args.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    args.stage = args.stage or (["audio-text"] if args.arch else list(STAGES))
    args.rank = args.rank or (128 if args.arch else 16)
    return args


def _release_memory() -> None:
    """Give freed pages back, so that one system's peak is not hidden in what another left."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
