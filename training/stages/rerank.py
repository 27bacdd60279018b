"""Reranker stage: Yes or No to a sound and a text, on hard negatives that a retriever mined.

    one row:  (sound, its text)  Yes;  (sound, texts near it)  No;  (sounds near it, its text)  No

    loss = cross entropy of the answers, the Yes pairs as heavy together as the No pairs
         + listwise * [ the text among its rivals + the sound among its rivals ]

Negatives come from a file of JSON lines, one a row: {"id": ..., "texts": [...], "sounds": [ids, ...]}.

Source: AuroLA's third stage (spec/recipes.md C.4, C.6); the balance and the listwise part are own.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...engine.rerank.prompts import Direction
from ...errors import InputError
from .. import parallel
from ..ahead import Ahead
from ..config import TrainSettings
from ..data import Row
from ..data.index import at, ids_of
from ..draw import DROPOUT, ITEM, crop, draw_rows, draw_text, rng_of, seed_torch
from ..listening import Features
from ..losses import listwise_cross_entropy, rerank_cross_entropy
from ..models.reranker import Pair, TrainableReranker
from .build import autocast
from .yes_no import YesNoTask, open_data, open_model

# Rows of one pass; their gradients add up to the batch's.
_ROWS_A_PASS = 8


@dataclass(frozen=True, slots=True)
class Negatives:
    """What lies near a row and does not fit it."""

    texts: tuple[str, ...]
    # Ids of rows.
    sounds: tuple[str, ...]


def read_negatives(path: str | Path) -> dict[str, Negatives]:
    """The negatives of each row by its id.

    Raises:
        InputError: a line cannot be read as that; it is named.
    """
    found = {}
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            found[str(values["id"])] = Negatives(tuple(values["texts"]), tuple(map(str, values["sounds"])))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: wanted an object of id, texts and sounds: {error!r}") from None
    return found


def build(settings: TrainSettings) -> "RerankTask":
    """The task of the settings."""
    if settings.data.negatives is None:
        raise InputError("the stage 'rerank' wants data.negatives, a file of hard negatives")
    model = open_model(settings, TrainableReranker)
    train, val, features = open_data(settings, model)
    return RerankTask(model, train, val, features, read_negatives(settings.data.negatives), settings)


class RerankTask(YesNoTask[TrainableReranker]):
    """A Task of `training.loop`. Validation asks for each row's text among the first captions of others, and says how often
    the right one has the highest P(Yes)."""

    def __init__(
        self,
        model: TrainableReranker,
        train: Sequence[Row],
        val: Sequence[Row],
        features: Features,
        negatives: Mapping[str, Negatives],
        settings: TrainSettings,
    ) -> None:
        super().__init__(model, settings)
        self.features, self.negatives = features, negatives
        place_of = {row_id: place for place, row_id in enumerate(ids_of(train))}
        wanted = settings.loss.num_negatives
        self._rows = train
        # Places of the rows whose sounds are wrong for a row.
        self._sounds = {
            row_id: [place_of[i] for i in near.sounds if i in place_of]
            for row_id, near in negatives.items()
            if row_id in place_of
        }
        enough = {i for i, near in self._sounds.items() if len(near) >= wanted <= len(negatives[i].texts)}
        self.train = at(train, (place for row_id, place in place_of.items() if row_id in enough))
        if parallel.is_first() and len(self.train) < len(train):
            left_out = len(train) - len(self.train)
            print(f"train: {left_out} of {len(train)} rows have not {wanted} negatives of each kind", file=sys.stderr)
        self.val = val
        self._batch = Ahead(self._draw, settings.optim.num_steps)

    def backward(self, step: int) -> dict[str, float]:
        s = self.settings
        own = self._batch(step)
        self.model.train()
        loss, right = 0.0, 0
        for first in range(0, len(own), _ROWS_A_PASS):
            chosen = own[first : first + _ROWS_A_PASS]
            seed_torch(s.seed, DROPOUT, step, parallel.rank(), first)
            with autocast(s, self.model.backbone.device):
                logits = self.model([pair for pairs in chosen for pair in pairs]).unflatten(0, (len(chosen), -1))
                share = len(chosen) / s.batch.batch_size
                value = rerank_loss(logits, s.loss.num_negatives, s.loss.listwise) * share
            value.backward()
            loss += float(value.detach())
            odds = (logits[..., 0] - logits[..., 1]).detach()
            right += int((odds[:, :1] > odds[:, 1:]).all(1).sum())
        return {"loss": parallel.total(loss), "top1": right / len(own)}

    def _draw(self, step: int) -> list[list[Pair]]:
        """The pairs of each of this process's rows."""
        s = self.settings
        rows = draw_rows(self.train, step, s.seed, s.batch.batch_size)
        own = range(len(rows))[parallel.own_part(len(rows))]
        return [self._pairs(rows[place], step, place) for place in own]

    def _pairs(self, row: Row, step: int, place: int) -> list[Pair]:
        """The right pair, then its sound with wrong texts, then wrong sounds with its text."""
        s = self.settings
        rng = rng_of(s.seed, ITEM, step, place)
        text = draw_text(row, rng, s.batch.kinds)[1]
        direction: Direction = "a2t" if rng.random() < 0.5 else "t2a"
        choose = lambda there: [there[i] for i in rng.choice(len(there), s.loss.num_negatives, replace=False)]
        wrong_texts, wrong_places = choose(self.negatives[row.id].texts), choose(self._sounds[row.id])
        rows = [row, *(self._rows[place] for place in wrong_places)]
        sound, *wrong_sounds = (crop(f, rng, s.batch) for f in self.features.of(rows))
        with_sound = [Pair(sound, t, direction) for t in (text, *wrong_texts)]
        return with_sound + [Pair(f, text, direction) for f in wrong_sounds]

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Accuracy of the right text among `num_negatives` + 4 captions of other rows, the same ones each time."""
        s = self.settings
        self.model.eval()
        captions = list(dict.fromkeys(row.captions[0] for row in self.val))
        num_wrong = min(s.loss.num_negatives + 4, len(captions) - 1)
        pairs = []
        for place, (row, sound) in enumerate(zip(self.val, self.features.of(self.val))):
            rng = rng_of(s.seed, ITEM, place)
            others = [caption for caption in captions if caption not in row.captions]
            wrong = [others[i] for i in rng.choice(len(others), min(num_wrong, len(others)), replace=False)]
            pairs.append([Pair(crop(sound, rng, s.batch), text) for text in (row.captions[0], *wrong)])
        with autocast(s, self.model.backbone.device):
            logits = self.model([pair for of_row in pairs for pair in of_row]).float().cpu()
        odds = np.split((logits[:, 0] - logits[:, 1]).numpy(), np.cumsum([len(of_row) for of_row in pairs])[:-1])
        accuracy = float(np.mean([o[0] > o[1:].max(initial=-np.inf) for o in odds]))
        return {"accuracy": round(accuracy, 4), "score": round(accuracy, 4)}


def rerank_loss(logits_QK2: torch.Tensor, num_negatives: int, listwise: float) -> torch.Tensor:
    """The stage's loss.

    Args:
        logits_QK2: [Q, 1 + 2 num_negatives, 2] logits (Yes, No) of each row's pairs: right, wrong texts, wrong sounds.
        num_negatives: of each kind.
        listwise: weight of the candidates' cross entropy.
    """
    right_Q2, wrong_X2 = logits_QK2[:, 0], logits_QK2[:, 1:].flatten(0, 1)
    yes = torch.zeros(len(right_Q2), dtype=torch.long, device=logits_QK2.device)
    no = torch.ones(len(wrong_X2), dtype=torch.long, device=logits_QK2.device)
    loss = 0.5 * (rerank_cross_entropy(right_Q2, yes) + rerank_cross_entropy(wrong_X2, no))
    if listwise:
        texts = logits_QK2[:, : 1 + num_negatives]
        sounds = torch.cat([logits_QK2[:, :1], logits_QK2[:, 1 + num_negatives :]], 1)
        loss = loss + listwise * (listwise_cross_entropy(texts) + listwise_cross_entropy(sounds))
    return loss
