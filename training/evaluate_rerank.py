"""What a reranker adds: its P(Yes) of the first candidates of both directions, fused with the retriever's scores.

    python -m harken.training.evaluate_rerank RERANK.json --data DIR --val VAL.npz --test TEST.npz --out DIR

VAL.npz and TEST.npz are vectors that `harken.training.evaluate --vectors` wrote. The fusion's weights are fitted on val and
kept in OUT/fusion.json; test is scored with them and nothing else.

Source: AuroLA equation 11 by engine/rerank/fusion.py.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..engine.recipes.rerank import get_rerank_recipe
from ..engine.rerank.fusion import FusionWeights, recall_at_1
from .config import TrainSettings, load_settings
from .data import Row
from .evaluate import as_table, different_captions, read_split, relevance, report_scores
from .models.reranker import Pair, TrainableReranker
from .stages.build import open_features, open_run_backbone


def first_of_both(scores_MN: np.ndarray, num: int) -> np.ndarray:
    """[M, N] bool: among the first `num` of its row or of its column."""
    chosen = np.zeros(scores_MN.shape, bool)
    np.put_along_axis(chosen, np.argsort(-scores_MN, 1)[:, :num], True, 1)
    np.put_along_axis(chosen, np.argsort(-scores_MN, 0)[:num], True, 0)
    return chosen


def score_pairs(
    model: TrainableReranker, features: Sequence[np.ndarray], captions: Sequence[str], wanted_MN: np.ndarray
) -> np.ndarray:
    """[M, N] P(Yes) at the wanted places, 0 elsewhere; a sound's captions share its prefix."""
    found = np.zeros(wanted_MN.shape, np.float32)
    model.eval()
    with torch.no_grad():
        for start in range(0, len(features), 32):
            pairs, places = [], []
            for n in range(start, min(start + 32, len(features))):
                for m in np.flatnonzero(wanted_MN[:, n]).tolist():
                    pairs.append(Pair(features[n], captions[m]))
                    places.append((m, n))
            if pairs:
                p_yes = model(pairs).softmax(-1)[:, 0].cpu().numpy()
                found[tuple(np.array(places).T)] = p_yes
    return found


def score_split(
    settings: TrainSettings, model: TrainableReranker, rows: Sequence[Row], vectors: Path, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and P(Yes), both [captions, sounds]."""
    saved = np.load(vectors)
    similarity = saved["text"] @ saved["audio"].T
    features = open_features(settings, model.backbone, rows).of(rows)
    max_rows = settings.batch.max_rows
    heard = [f[:max_rows] for f in features]
    return similarity, score_pairs(model, heard, different_captions(rows), first_of_both(similarity, num))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m harken.training.evaluate_rerank", description=__doc__.split("\n")[0]
    )
    parser.add_argument("settings", type=Path, help="settings of the reranker's run")
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--adapter", type=Path, help="adapter folder; default: that of the run")
    parser.add_argument("--val", required=True, type=Path, help="vectors of the validation split")
    parser.add_argument("--test", type=Path, help="vectors of the test split; left out: validation alone")
    parser.add_argument("--top", type=int, default=5, help="candidates of each query")
    parser.add_argument("--out", required=True, type=Path, help="folder for fusion.json, tables and scores")
    args = parser.parse_args(argv)
    settings = load_settings(args.settings)
    args.out.mkdir(parents=True, exist_ok=True)
    model = TrainableReranker(
        open_run_backbone(settings),
        get_rerank_recipe(settings.recipe),
        settings.lora,
        max_tokens=settings.run.max_tokens,
    )
    model.load(args.adapter or Path(settings.out) / "adapter")
    weights = None
    for split, vectors in (("val", args.val), ("test", args.test)):
        if vectors is None:
            continue
        rows = read_split(args.data, split)
        similarity, p_yes = score_split(settings, model, rows, vectors, args.top)
        np.savez(args.out / f"{split}.npz", similarity=similarity, p_yes=p_yes)
        captions = different_captions(rows)
        if weights is None:
            weights = fit(similarity, p_yes, relevance(rows, captions)[0], split)
            weights.save(args.out / "fusion.json")
        fused = weights.ret * similarity + (weights.a2t + weights.t2a) * p_yes
        results = {
            "retriever": report_scores(rows, captions, similarity),
            "fused": report_scores(rows, captions, fused),
        }
        (args.out / f"{split}.json").write_text(json.dumps(results, indent=1) + "\n")
        for name, table in results.items():
            print(f"{split}, {name}, weights {weights}\n{as_table(table)}")
    return 0


def fit(similarity_MN: np.ndarray, p_yes_MN: np.ndarray, relevant_MN: np.ndarray, split: str) -> FusionWeights:
    """One weight for P(Yes), which is the same in both directions, by recall@1 of both on validation."""
    best, best_recall = FusionWeights(0.0, 0.0, fitted_on=split), -1.0
    for weight in (i / 50 for i in range(101)):
        fused = similarity_MN + np.float32(weight) * p_yes_MN
        recall = float(np.mean([recall_at_1(fused, relevant_MN, way) for way in ("a2t", "t2a")]))
        if recall > best_recall:
            best, best_recall = FusionWeights(weight, 0.0, fitted_on=split), recall
    return best


if __name__ == "__main__":
    sys.exit(main())
