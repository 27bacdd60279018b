"""What harken-mini is held against: a linear CLAP on the same frozen features, and BM25 over the sounds' tags.

    linear CLAP   a = unit(Wa mean(tower outputs) + ba),  t = unit(Wt mean(states of the untrained decoder) + bt);
                  symmetric InfoNCE on the same training clips
    BM25          captions as queries, a sound's tags as its document; nothing is heard

    python -m harken.training.baselines RUN.json --data DIR --split test

Source: own; CLAP as in Elizalde et al. 2023 with linear projections; bm25.py.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..engine.cli.output import run_module
from .bm25 import bm25
from .config import TrainSettings, load_settings
from .data import Row
from .draw import draw_rows, fitting, rng_of
from .evaluate import as_table, different_captions, read_split, report, report_scores
from .losses import symmetric_info_nce
from .models.heads import Standardised
from .models.prompts import Input
from .stages.build import open_embedder, open_features
from .stages.contrastive import ContrastiveTask

STEPS, BATCH, DIM, LR, TAU = 1500, 512, 512, 1e-3, 0.07


def linear_clap(
    settings: TrainSettings, train: Sequence[Row], scored: Sequence[Row], *, steps: int = STEPS, batch: int = BATCH
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Unit vectors of `scored`'s sounds, its different captions, and the captions' vectors."""
    no_heads = {**settings.recipe_overrides, "audio_head": None, "text_head": None}
    model = open_embedder(replace(settings, recipe_overrides=no_heads))
    features = open_features(settings, model.backbone, train)
    captions = different_captions(scored)
    texts = list(dict.fromkeys([c for row in train for c in row.captions] + captions))
    encoded = ContrastiveTask(model, None, settings).encode([Input(text=t) for t in texts])  # type: ignore[arg-type]
    place = {text: i for i, text in enumerate(texts)}
    means = lambda rows: torch.from_numpy(np.stack([f.astype(np.float32).mean(0) for f in features.of(rows)]))
    heard, read = _Side(means(train), settings.seed), _Side(encoded, settings.seed + 1)
    rows_of = {row.id: i for i, row in enumerate(train)}
    optimizer = torch.optim.AdamW([*heard.parameters(), *read.parameters()], lr=LR, weight_decay=0.01)
    for step in range(steps):
        rows = draw_rows(train, step, settings.seed, min(batch, len(train)))
        said = [
            row.captions[int(rng_of(settings.seed, 5, step, i).integers(len(row.captions)))]
            for i, row in enumerate(rows)
        ]
        audio = heard(heard.states[[rows_of[row.id] for row in rows]])
        text = read(read.states[[place[t] for t in said]])
        loss = symmetric_info_nce(audio, text, TAU, torch.from_numpy(fitting(rows, said)))
        for group in optimizer.param_groups:
            group["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        audio = heard(heard.normal(means(scored)))
        text = read(read.states[[place[t] for t in captions]])
    return audio.numpy(), captions, text.numpy()


class _Side(nn.Module):
    """States at one scale, and their linear projection."""

    def __init__(self, states_NW: torch.Tensor, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.normal = Standardised(states_NW)
        self.states = self.normal(states_NW)
        self.linear = nn.Linear(states_NW.shape[1], DIM)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.linear(states), dim=-1)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.baselines", description=__doc__.split("\n")[0])
    parser.add_argument("settings", type=Path, help="settings of a run: its backbone, features and seed")
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    settings = load_settings(args.settings)
    train, scored = read_split(args.data, "train"), read_split(args.data, args.split)
    captions = different_captions(scored)
    results = {
        "linear CLAP": report(scored, *linear_clap(settings, train, scored)),
        "BM25 over tags": report_scores(scored, captions, bm25(captions, [" ".join(row.tags) for row in scored])),
    }
    for name, table in results.items():
        print(f"{args.split}, {name}\n{as_table(table)}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    run_module(main)
