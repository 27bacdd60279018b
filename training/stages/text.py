"""Text stage: sentences alone. A caption against another caption, the short caption or the tags of the same row; NLI's
premise against what follows from it.

Source: AuroLA's first stage (spec/recipes.md C.4), here also on the captions of the sounds.
"""

from collections.abc import Sequence

import numpy as np

from ..config import TrainSettings
from ..data import Row
from ..data.index import chosen
from ..draw import ITEM, WHITENING, draw_rows, draw_text, fitting, rng_of, tag_text, texts_of
from ..models.prompts import Input
from .build import open_embedder, open_rows
from .contrastive import ContrastiveTask, Pairs, Validation


def build(settings: TrainSettings) -> ContrastiveTask:
    """The task of the settings."""
    model = open_embedder(settings)
    train, val = (
        chosen(open_rows(settings, what), lambda row: sum(map(len, texts_of(row).values())) > 1)
        for what in ("train", "val")
    )
    return ContrastiveTask(model, TextPairs(train, val[: settings.data.max_val_rows], settings), settings)


class TextPairs:
    """Two different texts of each row."""

    def __init__(self, train: Sequence[Row], val: Sequence[Row], settings: TrainSettings) -> None:
        self.train, self.val, self.settings = train, val, settings

    def draw(self, step: int, own: slice) -> Pairs:
        """The batch of a step."""
        s = self.settings
        rows = draw_rows(self.train, step, s.seed, s.batch.batch_size)
        left, right = [], []
        for place, row in enumerate(rows):
            rng = rng_of(s.seed, ITEM, step, place)
            # What follows from a premise is no premise of it; captions of one sound have no order.
            if row.audio is None:
                first = next(iter(texts_of(row).values()))[0]
            else:
                first = draw_text(row, rng, {"long": 1.0} if row.long else s.batch.kinds)[1]
            left.append(first)
            right.append(draw_text(row, rng, s.batch.kinds, taken=first)[1])
        same = fitting(rows, left) | fitting(rows, right)
        return Pairs([Input(text=t) for t in left[own]], [Input(text=t) for t in right[own]], same, np.zeros_like(same))

    def whitening(self, num: int) -> list[list[Input]]:
        rows = draw_rows(self.train, 0, self.settings.seed + WHITENING, min(num, len(self.train)))
        return [[Input(text=next(iter(texts_of(row).values()))[0]) for row in rows]]

    def validation(self) -> Validation:
        """First captions against the rows' last other text."""
        left = [next(iter(texts_of(row).values()))[0] for row in self.val]
        right = [[t for t in (*row.captions, tag_text(row)) if t and t != one][-1] for row, one in zip(self.val, left)]
        questions, answers = list(dict.fromkeys(left)), list(dict.fromkeys(right))
        fits = np.zeros((len(questions), len(answers)), bool)
        for question, answer in zip(left, right):
            fits[questions.index(question), answers.index(answer)] = True
        return Validation(
            [Input(text=t) for t in questions],
            [Input(text=t) for t in answers],
            fits,
            ("caption->other", "other->caption"),
        )
