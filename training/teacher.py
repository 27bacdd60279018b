"""What a reranker is distilled from: scores that small two-sided models give to clips that they were not trained on.

    a = unit(f(mean, deviation and 95th percentile of the tower's outputs))
    t = unit(g(mean of the untrained decoder's states))
    score = mean over models of a . t / tau

Clips are dealt into folds, equal captions into one; a clip's scores come from the models of the other folds, so that they say
how well it fits every text and not that it has been seen. The models are a linear map and one hidden layer on the sounds' side.

    python -m harken.training.teacher RUN.json --data DIR --out teacher.npz

Source: own; distillation of a cross-encoder from cheaper models' scores as in Hofstätter et al. 2020 (arXiv 2010.02666), turned
round; out-of-fold scores as in stacking (Wolpert 1992).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..engine.cli.output import progress_bar, run_module
from ..errors import FileFormatError, InputError
from .config import TrainSettings, load_settings
from .data import Row
from .draw import ORDER, rng_of, texts_of
from .evaluate import read_split
from .models.heads import Standardised
from .models.prompts import Input
from .models.two_sided import Told, TwoSided, learn
from .stages.build import open_embedder, open_features
from .stages.contrastive import ContrastiveTask

NUM_FOLDS, STEPS, DIM, HIDDEN = 4, 600, 512, 1024
KINDS = {"long": 9.0, "tags": 1.0}


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the models: width of its hidden layer (0: there is none), dropout before the last map, temperature."""

    hidden: int
    dropout: float
    tau: float


MODELS = (Kind(0, 0.2, 0.07), Kind(HIDDEN, 0.4, 0.1))


class Teacher:
    """Scores by row id and text, as `main` wrote them.

    Raises:
        FileFormatError: the file cannot be read as that.
    """

    def __init__(self, file: str | Path) -> None:
        try:
            with np.load(file) as found:
                self._rows = {row_id: i for i, row_id in enumerate(found["ids"].tolist())}
                self._texts = {text: i for i, text in enumerate(found["texts"].tolist())}
                self._scores = found["scores"]
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"{file}: cannot be read as a teacher's scores: {error!r}") from None
        if self._scores.shape != (len(self._rows), len(self._texts)):
            raise FileFormatError(
                f"{file}: scores have shape {self._scores.shape}, but there are {len(self._rows)} ids and "
                f"{len(self._texts)} texts"
            )
        self._file = file

    def of(self, rows: Sequence[Row], texts: Sequence[str]) -> np.ndarray:
        """[rows, texts] float32.

        Raises:
            InputError: the file has not all of them.
        """
        try:
            places = [self._rows[row.id] for row in rows], [self._texts[text] for text in texts]
        except KeyError as error:
            raise InputError(f"{self._file}: has no scores of {error}; make it anew from these rows") from None
        return self._scores[np.ix_(*places)].astype(np.float32)


def out_of_fold(
    sounds_NF: np.ndarray,
    rows: Sequence[Row],
    texts: Sequence[str],
    text_MW: np.ndarray,
    *,
    seed: int,
    steps: int = STEPS,
) -> np.ndarray:
    """[N, M] float32 scores of every sound and text, by models that were trained on the other folds.

    Args:
        sounds_NF: what is known of each row's sound.
        rows: N, with captions.
        texts: M different ones, all of the rows' among them; text_MW their states.
    """
    fold_N = _folds([row.captions[0] for row in rows], seed)
    scores = np.zeros((len(rows), len(texts)), np.float32)
    place = {text: i for i, text in enumerate(texts)}
    told = Told(rows, torch.from_numpy(sounds_NF), place, torch.from_numpy(text_MW))
    with progress_bar("teachers", NUM_FOLDS * len(MODELS) * steps) as advance:
        for fold, kind in product(range(NUM_FOLDS), MODELS):
            own, others = np.flatnonzero(fold_N == fold), np.flatnonzero(fold_N != fold).tolist()
            torch.manual_seed(seed + fold)
            model = _model(told, kind)
            learn(model, told, others, kind.tau, KINDS, seed=seed, purpose=fold, steps=steps, advance=advance)
            with torch.no_grad():
                audio, text = model(told.sounds_NF[own], told.texts_MG)
            scores[own] += (audio @ text.T / (kind.tau * len(MODELS))).numpy()
    return scores


def _folds(captions: Sequence[str], seed: int) -> np.ndarray:
    """[N] the fold of each clip; clips of one caption share it."""
    different = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
    dealt = rng_of(seed, ORDER).permutation(len(different)) % NUM_FOLDS
    return dealt[[different[caption] for caption in captions]]


def _model(told: Told, kind: Kind) -> TwoSided:
    (_, num_told), (_, num_states) = told.sounds_NF.shape, told.texts_MG.shape
    width = kind.hidden or num_told
    hidden = [nn.Dropout(kind.dropout / 2), nn.Linear(num_told, width), nn.GELU()] if kind.hidden else []
    hear = [Standardised(told.sounds_NF), *hidden, nn.Dropout(kind.dropout), nn.Linear(width, DIM)]
    read = [Standardised(told.texts_MG), nn.Dropout(kind.dropout), nn.Linear(num_states, DIM)]
    return TwoSided(nn.Sequential(*hear), nn.Sequential(*read))


def described(features: Sequence[np.ndarray]) -> np.ndarray:
    """[N, 3 F] float32: mean, standard deviation and 95th percentile of each sound's [n, F] rows."""
    told = []
    for rows in features:
        x = rows.astype(np.float32)
        told.append(np.concatenate([x.mean(0), x.std(0), np.quantile(x, 0.95, axis=0)]))
    return np.stack(told).astype(np.float32)


def make(settings: TrainSettings, rows: Sequence[Row], others: Sequence[Row], file: Path) -> None:
    """Write the scores of rows and of all their texts.

    Features that are not there yet are made for the other rows too, which later stages look for in the same folder.
    """
    no_heads = {**settings.recipe_overrides, "audio_head": None, "text_head": None}
    model = open_embedder(replace(settings, recipe_overrides=no_heads, merged=None))
    texts = list(dict.fromkeys(text for row in rows for of_kind in texts_of(row).values() for text in of_kind))
    states = ContrastiveTask(model, None, settings).encode([Input(text=text) for text in texts])  # type: ignore[arg-type]
    features = open_features(settings, model.backbone, rows, others)
    kept, problems = features.usable(rows)
    for problem in problems:
        print(problem, file=sys.stderr)
    scores = out_of_fold(described(features.of(kept)), kept, texts, states.numpy(), seed=settings.seed)
    np.savez(file, ids=np.array([row.id for row in kept]), texts=np.array(texts), scores=scores.astype(np.float16))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.teacher", description=__doc__.split("\n")[0])
    parser.add_argument("settings", type=Path, help="settings of an embedder's run: its backbone, features and seed")
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl; its split train is taken")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.npz)")
    args = parser.parse_args(argv)
    make(load_settings(args.settings), read_split(args.data, "train"), read_split(args.data, "val"), args.out)
    return 0


if __name__ == "__main__":
    run_module(main)
