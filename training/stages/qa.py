"""Question stage: a sound with a question against the answer; rows without a question as a sound against a caption.

The instruction says what is asked for: ALM2Vec's for questions, its general one for everything else.

Source: ALM2Vec, arXiv 2606.30682 (spec/recipes.md D.1, D.3).
"""

from collections.abc import Sequence

import numpy as np

from ...engine.recipes.alm2vec import QUERY_INSTRUCTION
from ..config import TrainSettings
from ..data import Row
from ..data.index import chosen
from ..draw import ITEM, WHITENING, crop, draw_rows, draw_text, rng_of, texts_of
from ..listening import Features
from ..models.prompts import Input
from .build import open_embedder, open_features, open_rows, usable
from .contrastive import ContrastiveTask, Pairs, Validation


def build(settings: TrainSettings) -> ContrastiveTask:
    """The task of the settings."""
    model = open_embedder(settings)
    train, val = open_rows(settings, "train"), open_rows(settings, "val")
    features = open_features(settings, model.backbone, train, val)
    train, val = usable(features, train, "train"), usable(features, val, "val")[: settings.data.max_val_rows]
    return ContrastiveTask(model, QuestionPairs(train, val, features, settings), settings)


def query_of(row: Row, sound: np.ndarray) -> Input:
    """The sound with its question, or alone."""
    if row.question is None:
        return Input(features=sound)
    return Input(text=row.question, features=sound, instruction=QUERY_INSTRUCTION)


def answers_of(row: Row) -> list[str]:
    """What answers the row's query: its answer, or its texts where there is no question."""
    if row.question is not None and row.answer is not None:
        return [row.answer]
    return [text for texts in texts_of(row).values() for text in texts]


class QuestionPairs:
    """A crop of each row's sound with its question, and one of its answers."""

    def __init__(self, train: Sequence[Row], val: Sequence[Row], features: Features, settings: TrainSettings) -> None:
        answered = lambda rows: chosen(rows, answers_of)
        self.train, self.val, self.features, self.settings = answered(train), answered(val), features, settings

    def draw(self, step: int, own: slice) -> Pairs:
        """The batch of a step; pairs whose answers fit each other are no negatives."""
        s = self.settings
        rows = draw_rows(self.train, step, s.seed, s.batch.batch_size)
        rngs = [rng_of(s.seed, ITEM, step, place) for place in range(len(rows))]
        texts = [
            row.answer if row.question is not None and row.answer else draw_text(row, rng, s.batch.kinds)[1]
            for row, rng in zip(rows, rngs)
        ]
        fits = np.array([[text in of_row for text in texts] for of_row in map(answers_of, rows)])
        sounds = [crop(f, rng, s.batch) for f, rng in zip(self.features.of(rows[own]), rngs[own])]
        return Pairs(
            [query_of(row, sound) for row, sound in zip(rows[own], sounds)],
            [Input(text=text) for text in texts[own]],
            fits | fits.T,
            np.zeros_like(fits),
        )

    def whitening(self, num: int) -> list[list[Input]]:
        rows = draw_rows(self.train, 0, self.settings.seed + WHITENING, min(num, len(self.train)))
        queries = [query_of(row, sound) for row, sound in zip(rows, self.features.of(rows))]
        return [queries, [Input(text=answers_of(row)[0]) for row in rows]]

    def validation(self) -> Validation:
        """Every query against the different answers."""
        answers = [answers_of(row)[: self.settings.data.max_val_captions] for row in self.val]
        texts = list(dict.fromkeys(text for of_row in answers for text in of_row))
        fits = np.array([[text in of_row for text in texts] for of_row in map(set, answers)])
        queries = [query_of(row, sound) for row, sound in zip(self.val, self.features.of(self.val))]
        return Validation(queries, [Input(text=text) for text in texts], fits, ("query->answer", "answer->query"))
