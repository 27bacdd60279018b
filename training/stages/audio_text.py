"""Audio-text stage: a sound against one of its texts (OEA, AuroLA, harken-mini).

Hybrid-NCE's further positives are rows of which both gave their tags and whose tags, or clusters of tags, are the same.

Source: own; OEA and AuroLA by their settings (spec/recipes.md B.4, C.4, C.5).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..config import TrainSettings
from ..data import Row
from ..draw import ITEM, WHITENING, crop, draw_rows, draw_text, fitting, rng_of
from ..listening import Features
from ..models.prompts import Input
from .build import CAPTIONS, open_embedder, open_features, open_rows, usable, with_texts
from .contrastive import ContrastiveTask, Pairs, Validation


def build(settings: TrainSettings) -> ContrastiveTask:
    """The task of the settings."""
    model = open_embedder(settings)
    train, val = open_rows(settings, "train"), open_rows(settings, "val")
    features = open_features(settings, model.backbone, train, val)
    train = with_texts(usable(features, train, "train"), settings.batch.kinds, "train")
    val = with_texts(usable(features, val, "val"), CAPTIONS, "val")[: settings.data.max_val_rows]
    return ContrastiveTask(model, AudioTextPairs(train, val, features, settings), settings)


class AudioTextPairs:
    """A crop of each row's sound and one of its texts."""

    def __init__(self, train: Sequence[Row], val: Sequence[Row], features: Features, settings: TrainSettings) -> None:
        self.train, self.val, self.features, self.settings = train, val, features, settings
        self._clusters = read_clusters(settings.data.tag_clusters)

    def draw(self, step: int, own: slice) -> Pairs:
        """The batch of a step."""
        s = self.settings
        rows = draw_rows(self.train, step, s.seed, s.batch.batch_size)
        rngs = [rng_of(s.seed, ITEM, step, place) for place in range(len(rows))]
        drawn = [draw_text(row, rng, s.batch.kinds) for row, rng in zip(rows, rngs)]
        texts = [text for _, text in drawn]
        tags = [self._tags(row) if kind == "tags" else frozenset() for row, (kind, _) in zip(rows, drawn)]
        heard = self.features.of(rows[own])
        sounds = [crop(f, rng, s.batch) for f, rng in zip(heard, rngs[own])]
        positive = np.array([[bool(mine) and mine == theirs for theirs in tags] for mine in tags])
        return Pairs(
            [Input(features=f) for f in sounds], [Input(text=t) for t in texts[own]], fitting(rows, texts), positive
        )

    def whitening(self, num: int) -> list[list[Input]]:
        s = self.settings
        rows = draw_rows(self.train, 0, s.seed + WHITENING, min(num, len(self.train)))
        rngs = [rng_of(s.seed, WHITENING, place) for place in range(len(rows))]
        sounds = [crop(f, rng, s.batch) for f, rng in zip(self.features.of(rows), rngs)]
        texts = [
            draw_text(row, rng, {"long": 1.0, "short": 1.0, "tags": 0.0 if row.captions else 1.0})[1]
            for row, rng in zip(rows, rngs)
        ]
        return [[Input(features=f) for f in sounds], [Input(text=t) for t in texts]]

    def validation(self) -> Validation:
        """Every sound against the different captions."""
        captions = [row.captions[: self.settings.data.max_val_captions] for row in self.val]
        texts = list(dict.fromkeys(text for of_row in captions for text in of_row))
        fits = np.array([[text in of_row for text in texts] for of_row in map(set, captions)])
        return Validation(
            [Input(features=f) for f in self.features.of(self.val)],
            [Input(text=t) for t in texts],
            fits,
            ("audio->text", "text->audio"),
        )

    def _tags(self, row: Row) -> frozenset[str | int]:
        if self._clusters is None:
            return frozenset(row.tags)
        return frozenset(self._clusters[tag] for tag in row.tags if tag in self._clusters)


def read_clusters(path: str | None) -> Mapping[str, int] | None:
    """The cluster of each tag, from {tag: {"cluster_index": int or null}}.

    Raises:
        InputError: the file cannot be read as that.
    """
    if path is None:
        return None
    try:
        values = json.loads(Path(path).read_text())
        return {tag: int(v["cluster_index"]) for tag, v in values.items() if v["cluster_index"] is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as clusters of tags: {error!r}") from None
