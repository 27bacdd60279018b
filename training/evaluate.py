"""How well sounds find sentences and sentences sounds: recall at 1, 5, 10 against chance, with bootstrap intervals.

Text to audio: each different caption of the split asks once among all its sounds. Audio to text: each sound asks once
among all different captions. Right is, by `caption`, whatever has the same first caption; by `group`, whatever has the
same event class. A wrong candidate with the score of the best right one stands before it.

    mAP@10 = mean_q [ 1/min(m_q, 10) sum_{k <= 10, k-th right} precision at k ],   m_q right ones

    python -m harken.training.evaluate RUN.json --data DIR --split val

Source: own; Recall@k as in AudioCaps and Clotho retrieval, multiplicity handled as stated here.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.cli.output import run_module
from .config import load_settings
from .data import Row
from .metrics import bootstrap, chance, first_ranks, ordered_right
from .rows import MANIFEST, SourceSettings, read_rows

KS = (1, 5, 10)
Report = dict[str, dict[str, dict[str, float]]]


def report(rows: Sequence[Row], audio_ND: np.ndarray, captions: Sequence[str], text_MD: np.ndarray) -> Report:
    """Recalls both ways and by both rules.

    Args:
        rows: N sounds; `audio_ND` their vectors.
        captions: the M different first captions of the rows; `text_MD` their vectors.
    """
    return report_scores(rows, captions, text_MD @ audio_ND.T)


def report_scores(rows: Sequence[Row], captions: Sequence[str], scores_MN: np.ndarray) -> Report:
    """The same from scores of captions and sounds."""
    same_caption, same_group = relevance(rows, captions)
    out: Report = {}
    for rule, right in (("caption", same_caption), ("group", same_group)):
        for way, scores, truth in (("text->audio", scores_MN, right), ("audio->text", scores_MN.T, right.T)):
            rank = first_ranks(scores, truth)
            line: dict[str, dict[str, float]] = {}
            for k in KS:
                low, high = bootstrap(rank <= k)
                line[f"R@{k}"] = dict(recall=float((rank <= k).mean()), low=low, high=high, chance=chance(truth, k))
            precision = average_precision_at_10(ordered_right(scores, truth))
            low, high = bootstrap(precision)
            line["mAP@10"] = dict(recall=float(precision.mean()), low=low, high=high)
            line["median rank"] = dict(recall=float(np.median(rank)))
            out[f"{way} by {rule}"] = line
    return out


def relevance(rows: Sequence[Row], captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """[M, N] bool by caption, and by group."""
    same_caption = np.array([[row.captions[0] == caption for row in rows] for caption in captions])
    groups = [{row.labels for row in rows if row.captions[0] == caption} for caption in captions]
    return same_caption, np.array([[row.labels in of_caption for row in rows] for of_caption in groups])


def average_precision_at_10(right_QN: np.ndarray) -> np.ndarray:
    """[Q] average precision of the first ten, candidates in order of score."""
    first = right_QN[:, :10]
    precision = np.cumsum(first, 1) / np.arange(1, first.shape[1] + 1)
    return (precision * first).sum(1) / np.minimum(right_QN.sum(1), 10)


def different_captions(rows: Sequence[Row]) -> list[str]:
    """The rows' first captions, each once."""
    return list(dict.fromkeys(row.captions[0] for row in rows))


def as_table(results: Report) -> str:
    """Markdown rows, in percent."""
    lines = [
        "| direction, rule | " + " | ".join(f"R@{k} [95 %] (chance)" for k in KS) + " | mAP@10 [95 %] |",
        "|---|" + "---|" * (len(KS) + 1),
    ]
    for name, line in results.items():
        cells = [
            f"{100 * c['recall']:.1f} [{100 * c['low']:.1f}, {100 * c['high']:.1f}]"
            + (f" ({100 * c['chance']:.1f})" if "chance" in c else "")
            for c in (line[key] for key in (*(f"R@{k}" for k in KS), "mAP@10"))
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_split(data: Path, split: str) -> list[Row]:
    """The rows of a manifest's split."""
    return read_rows([SourceSettings(MANIFEST, str(data), split=split)]).rows


def embed_rows(settings: Any, rows: Sequence[Row], adapter: Path | None) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Vectors of the rows' sounds, their different captions, and the captions' vectors.

    Args:
        settings: of the run.
        adapter: None: the untrained backbone, its pooled states without heads.
    """
    from dataclasses import replace

    from .models.prompts import Input
    from .stages.build import open_embedder, open_features
    from .stages.contrastive import ContrastiveTask

    if adapter is None:
        no_heads = {**settings.recipe_overrides, "audio_head": None, "text_head": None}
        settings = replace(settings, recipe_overrides=no_heads)
    model = open_embedder(settings)
    if adapter is not None:
        model.load(adapter)
    features = open_features(settings, model.backbone, rows)
    task = ContrastiveTask(model, None, settings)  # type: ignore[arg-type]
    captions = different_captions(rows)
    audio = task.encode([Input(features=f) for f in features.of(rows)])
    return audio.numpy(), captions, task.encode([Input(text=caption) for caption in captions]).numpy()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("settings", type=Path, help="settings of the run")
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--adapter", type=Path, help="adapter folder; default: that of the run")
    parser.add_argument("--untrained", action="store_true", help="the backbone without adapter and heads")
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--vectors", type=Path, help="also write the vectors here (.npz: audio, text)")
    args = parser.parse_args(argv)
    settings = load_settings(args.settings)
    rows = read_split(args.data, args.split)
    adapter = None if args.untrained else args.adapter or Path(settings.out) / "adapter"
    audio, captions, text = embed_rows(settings, rows, adapter)
    results = report(rows, audio, captions, text)
    print(f"{args.split}: {len(rows)} sounds, {len(captions)} different captions, adapter {adapter}")
    print(as_table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.vectors:
        np.savez(args.vectors, audio=audio, text=text)
    return 0


if __name__ == "__main__":
    run_module(main)
