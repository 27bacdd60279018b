"""How well sounds find sentences and sentences sounds: recall at 1, 5, 10 against chance, with bootstrap intervals.

Text to audio: each different caption of the split asks once among all its clips. Audio to text: each clip asks once
among all different captions. Right is, by `caption`, whatever has the same caption string; by `group`, whatever has the
same event class. A wrong candidate with the score of the best right one stands before it.

    R@k = mean_q [ rank_q <= k ],        chance = mean_q [ 1 - C(N - m_q, k) / C(N, k) ],   m_q right ones among N

Source: own; Recall@k as in AudioCaps and Clotho retrieval, multiplicity handled as stated here.

    python -m harken.training.evaluate --data DIR --features DIR --adapter DIR --split val
"""

import argparse
import json
import sys
from collections.abc import Sequence
from math import comb
from pathlib import Path

import numpy as np

from .data import Clip, load_manifest

KS = (1, 5, 10)
Report = dict[str, dict[str, dict[str, float]]]


def ranks(scores_QN: np.ndarray, right_QN: np.ndarray) -> np.ndarray:
    """[Q] rank from 1 of the best right candidate; ties count against it."""
    best_Q1 = np.where(right_QN, scores_QN, -np.inf).max(1, keepdims=True)
    return 1 + ((scores_QN >= best_Q1) & ~right_QN).sum(1)


def chance(right_QN: np.ndarray, k: int) -> float:
    """Exact expected recall at k of a random order."""
    total = right_QN.shape[1]
    k = min(k, total)
    return float(np.mean([1 - comb(total - int(m), k) / comb(total, k) for m in right_QN.sum(1)]))


def bootstrap(hits_Q: np.ndarray, seed: int = 0, num_draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over queries, percentile method."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(hits_Q), (num_draws, len(hits_Q)))
    low, high = np.percentile(hits_Q[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def report(clips: Sequence[Clip], audio_ND: np.ndarray, captions: Sequence[str], text_MD: np.ndarray) -> Report:
    """Recalls both ways and by both rules.

    Args:
        clips: N clips; `audio_ND` their vectors.
        captions: the M different captions of the clips; `text_MD` their vectors.
    """
    scores_MN = text_MD @ audio_ND.T
    same_caption = np.array([[clip.caption == caption for clip in clips] for caption in captions])
    groups = [{clip.group for clip in clips if clip.caption == caption} for caption in captions]
    same_group = np.array([[clip.group in of_caption for clip in clips] for of_caption in groups])
    out: Report = {}
    for rule, right in (("caption", same_caption), ("group", same_group)):
        for way, scores, truth in (("text->audio", scores_MN, right), ("audio->text", scores_MN.T, right.T)):
            rank = ranks(scores, truth)
            row: dict[str, dict[str, float]] = {}
            for k in KS:
                low, high = bootstrap(rank <= k)
                row[f"R@{k}"] = dict(recall=float((rank <= k).mean()), low=low, high=high, chance=chance(truth, k))
            out[f"{way} by {rule}"] = row | {"median rank": dict(recall=float(np.median(rank)))}
    return out


def different_captions(clips: Sequence[Clip]) -> list[str]:
    return list(dict.fromkeys(clip.caption for clip in clips))


def as_table(results: Report) -> str:
    """Markdown rows, in percent."""
    lines = [
        "| direction, rule | " + " | ".join(f"R@{k} [95 %] (chance)" for k in KS) + " |",
        "|---|" + "---|" * len(KS),
    ]
    for name, row in results.items():
        cells = [
            f"{100 * c['recall']:.1f} [{100 * c['low']:.1f}, {100 * c['high']:.1f}] ({100 * c['chance']:.1f})"
            for c in (row[f"R@{k}"] for k in KS)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    from .embed import embed_split

    parser = argparse.ArgumentParser(prog="python -m harken.training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--features", type=Path, help="cache of tower outputs; default: DATA/features")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the built-in model")
    parser.add_argument("--adapter", type=Path, help="adapter folder; without it the untrained backbone, no heads")
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    clips = load_manifest(args.data).split(args.split)
    audio, captions, text = embed_split(clips, args)
    results = report(clips, audio, captions, text)
    print(f"{args.split}: {len(clips)} clips, {len(captions)} different captions, adapter {args.adapter}")
    print(as_table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
