"""Milliseconds to rerank one query's candidates: harken against transformers on the same checkpoint, in one run.

    harken bench rerank [--model FOLDER] [--candidates 50] [--length 10] [--device cpu] [--out FILE]

Question: what do K candidates of one query cost, in tokens, milliseconds and memory, in both directions?
Gate:     every way's scores must agree with harken's within 1e-4 before anything is timed (2e-2 in half precision).
Rivals:   "hf pairwise" - one full forward a pair, as the published evaluation does: the sound padded to 30 s and encoded
          again for each pair, the language head on every position;
          "hf batched"  - pairs in padded batches, the head on the last position alone, the best that transformers offers.
Reads:    "harken" starts with nothing cached; "harken, heard" has met the candidate sounds before, as behind an index.
          Tokens are counted: rows that went through the decoder, and rows through the audio tower (after pooling). The ways
          take turns within a repetition and the median counts. Memory is the highest during a way, less that before it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ...engine.convert.mini import build_mini
from ...engine.rerank.load import load_reranker
from ...engine.rerank.prompts import Direction
from ...engine.rerank.reranker import Reranker
from ..record import cpu_name, save
from .encode import noise_clips
from .memory import PeakMemory
from .rerank_rivals import Qwen2AudioPairs, Tokens
from .workload import make_sentences


@dataclass(frozen=True, slots=True)
class Task:
    """One query and its candidates, sounds and texts matched up."""

    direction: Direction
    clips: list[np.ndarray]
    texts: list[str]


Way = Callable[[Task], tuple[np.ndarray, Tokens]]


def make_task(direction: Direction, num_candidates: int, length_s: float, seed: int = 0) -> Task:
    """Noise and captions of 8 to 16 words; what they hold does not change what they cost."""
    captions = make_sentences(num_candidates, seed)
    if direction == "a2t":
        return Task(direction, noise_clips(1, length_s, seed), captions)
    return Task(direction, noise_clips(num_candidates, length_s, seed), captions[:1])


def harken_way(model: Reranker, task: Task) -> tuple[np.ndarray, Tokens]:
    before = asdict(model.work)
    sounds = [(clip, 16000) for clip in task.clips]
    query, candidates = (sounds[0], task.texts) if task.direction == "a2t" else (task.texts[0], sounds)
    scores = model.predict([(query, candidate) for candidate in candidates], direction=task.direction)
    spent = {name: count - before[name] for name, count in asdict(model.work).items()}
    return scores, Tokens(spent["num_decoder_tokens"], spent["num_audio_tokens"])


def ways(model: Reranker, heard: Reranker, rival: Qwen2AudioPairs, batch: int) -> dict[str, Way]:
    """The ways by name; `model` keeps no audio tokens, `heard` does."""
    pairs = lambda task: [(clip, text) for clip in task.clips for text in task.texts]
    return {
        "harken": lambda task: harken_way(model, task),
        "harken, heard": lambda task: harken_way(heard, task),
        "hf pairwise": lambda task: rival.score(task.direction, pairs(task), 1, whole_head=True),
        "hf batched": lambda task: rival.score(task.direction, pairs(task), batch, whole_head=False),
    }


def measure(ways: dict[str, Way], task: Task, repeats: int, tolerance: float, device: torch.device) -> list[dict]:
    """One row a way; the first, untimed round is the gate and counts the tokens of everything but the cached way."""
    scores = {name: way(task)[0] for name, way in ways.items()}
    for name, got in scores.items():
        off = float(np.abs(got - scores["harken"]).max())
        if not off <= tolerance:
            raise SystemExit(f"FAILED: {name} disagrees with harken by {off:.2e}; nothing is timed")
    rows: dict[str, dict] = {name: {"way": name, "direction": task.direction, "ms": [], "bytes": []} for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            with PeakMemory(device) as memory:
                start = time.perf_counter()
                _, tokens = way(task)
                rows[name]["ms"].append(1e3 * (time.perf_counter() - start))
            rows[name]["bytes"].append(memory.peak_bytes)
            rows[name] |= asdict(tokens)
    for row in rows.values():
        row["ms"], row["bytes"] = statistics.median(row["ms"]), max(row["bytes"])
    return list(rows.values())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench rerank", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="checkpoint folder of a Qwen2-Audio; default: the built-in model's frozen parts"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--length", type=float, default=10.0, help="seconds a clip")
    parser.add_argument("--batch", type=int, default=10, help="pairs a batch of 'hf batched'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    folder = args.model or build_mini()
    load = lambda cache_bytes: load_reranker(
        folder, device=args.device, dtype=args.dtype, cache_bytes=cache_bytes, batch_tokens=8192
    )
    model, heard = load(0), load(1 << 30)
    rival = Qwen2AudioPairs(model, folder)
    rows: list[dict] = []
    what = f"one query, {args.candidates} candidates, {args.length:g} s clips, {args.dtype} on {args.device}"
    print(f"{what}; {cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':>4} {'':14} {'ms':>10} {'decoder tokens':>15} {'audio tokens':>13} {'MiB':>7}   times harken's ms")
    tolerance = 1e-4 if args.dtype == "float32" else 2e-2
    directions: tuple[Direction, ...] = ("a2t", "t2a")
    for direction in directions:
        task = make_task(direction, args.candidates, args.length)
        measured = measure(ways(model, heard, rival, args.batch), task, args.repeats, tolerance, model.model.device)
        for row in measured:
            row["times"] = row["ms"] / measured[0]["ms"]
            print(
                f"{direction:>4} {row['way']:14} {row['ms']:>10.0f} {row['decoder']:>15} {row['audio']:>13} "
                f"{row['bytes'] / 2**20:>7.0f}   {row['times']:.2f}",
                flush=True,
            )
        rows += measured
    if args.out:
        chosen = {name: getattr(args, name) for name in ("device", "dtype", "candidates", "length", "batch", "repeats")}
        save(args.out, "rerank", what, {"model": Path(folder).name, **chosen}, rows)


if __name__ == "__main__":
    main()
