"""What a reranker adds: its P(Yes) of the first candidates of both directions, fused with the retriever's scores.

    python -m harken.training.evaluate_rerank RERANK.json --data DIR --val VAL.npz --test TEST.npz --out DIR

VAL.npz and TEST.npz are vectors that `harken.training.evaluate --vectors` wrote. The fusion's weight is fitted on val and
kept in OUT/fusion.json; test is scored with it and nothing else. Pairs are scored by the engine, as it serves them.

Source: AuroLA equation 11 by engine/rerank/fusion.py.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.cli.output import progress_bar, run_module
from ..engine.rerank.fusion import FusionWeights
from ..engine.rerank.load import load_reranker
from ..engine.rerank.reranker import Reranker
from .config import TrainSettings, load_settings
from .evaluate import as_table, different_captions, read_split, relevance, report_scores
from .metrics import first_ranks
from .stages.build import adapter_folder, model_folder

# Pairs between two movements of the progress bar.
CHUNK = 2048


def first_of_both(scores_MN: np.ndarray, num: int) -> np.ndarray:
    """[M, N] bool: among the first `num` of its row or of its column."""
    chosen = np.zeros(scores_MN.shape, bool)
    np.put_along_axis(chosen, np.argsort(-scores_MN, 1)[:, :num], True, 1)
    np.put_along_axis(chosen, np.argsort(-scores_MN, 0)[:num], True, 0)
    return chosen


def score_pairs(
    reranker: Reranker, sounds: Sequence[Any], captions: Sequence[str], wanted_MN: np.ndarray
) -> np.ndarray:
    """[M, N] P(Yes) at the wanted places, 0 elsewhere; a sound that cannot be read is an InputError that names it."""
    found = np.zeros(wanted_MN.shape, np.float32)
    places = np.argwhere(wanted_MN.T)
    with progress_bar("pairs", len(places)) as advance:
        for start in range(0, len(places), CHUNK):
            some = places[start : start + CHUNK]
            found[some[:, 1], some[:, 0]] = reranker.predict(
                [(sounds[n], captions[m]) for n, m in some.tolist()], direction="a2t"
            )
            advance(len(some))
    return found


def open_reranker(settings: TrainSettings, adapter: Path | None, dtype: str | None) -> Reranker:
    """The reranker of a run as the engine serves it."""
    own = adapter or Path(settings.out) / "adapter"
    beneath = adapter_folder(settings.merged)
    return load_reranker(
        model_folder(settings), adapter=own if beneath is None else [beneath, own], recipe=settings.recipe, dtype=dtype
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m harken.training.evaluate_rerank", description=__doc__.split("\n")[0]
    )
    parser.add_argument("settings", type=Path, help="settings of the reranker's run")
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--adapter", type=Path, help="adapter folder; default: that of the run")
    parser.add_argument("--val", required=True, type=Path, help="vectors of the validation split")
    parser.add_argument("--test", type=Path, help="vectors of the test split; left out: validation alone")
    parser.add_argument("--dtype", help="of the model, as `harken rerank` takes it")
    parser.add_argument("--top", type=int, default=50, help="candidates of each query")
    parser.add_argument("--out", required=True, type=Path, help="folder for fusion.json, tables and scores")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    reranker = open_reranker(load_settings(args.settings), args.adapter, args.dtype)
    weights = None
    for split, vectors in (("val", args.val), ("test", args.test)):
        if vectors is None:
            continue
        rows = read_split(args.data, split)
        captions, saved = different_captions(rows), np.load(vectors)
        similarity = saved["text"] @ saved["audio"].T
        p_yes = score_pairs(reranker, [row.audio for row in rows], captions, first_of_both(similarity, args.top))
        np.savez(args.out / f"{split}.npz", similarity=similarity, p_yes=p_yes)
        if weights is None:
            weights = fit(similarity, p_yes, relevance(rows, captions)[0], split)
            weights.save(args.out / "fusion.json")
        fused = weights.ret * similarity + weights.a2t * p_yes
        results = {
            "retriever": report_scores(rows, captions, similarity),
            "fused": report_scores(rows, captions, fused),
        }
        (args.out / f"{split}.json").write_text(json.dumps(results, indent=1) + "\n")
        for name, table in results.items():
            print(f"{split}, {name}, weights {weights}\n{as_table(table)}")
    return 0


def fit(similarity_MN: np.ndarray, p_yes_MN: np.ndarray, relevant_MN: np.ndarray, split: str) -> FusionWeights:
    """One weight for P(Yes) in both directions, the smallest of those with the highest mean reciprocal rank of both.

    Recall@1 alone would hang on a handful of queries.
    """
    best, best_rank = FusionWeights(0.0, 0.0, fitted_on=split), -1.0
    for weight in (i / 50 for i in range(101)):
        fused = similarity_MN + np.float32(weight) * p_yes_MN
        both = ((fused, relevant_MN), (fused.T, relevant_MN.T))
        reciprocal = float(np.mean([(1 / first_ranks(scores, right)).mean() for scores, right in both]))
        if reciprocal > best_rank:
            best, best_rank = FusionWeights(weight, weight, fitted_on=split), reciprocal
    return best


if __name__ == "__main__":
    run_module(main)
