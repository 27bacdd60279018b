"""Reranker stage for parts that meet in the upper layers: every text of a batch is asked of every sound.

    o[i, j] = log-odds of Yes to sound i and text j
    loss = listwise * symmetric cross entropy of o's diagonal against its rows and columns
         + 1/2 mean softplus(-o[i, i]) + 1/2 mean softplus(o[i, j])      j not fitting i
         + distilled * KL(teacher || o) of rows and columns

What goes into the first joint layer is computed once for every sound and text and kept in the folder data.states; a batch of B
pairs then is B^2 questions, each of which costs a text's tokens in the upper layers. What is kept comes from a model that has
seen the training clips, so that right pairs alone teach it to remember; a teacher's out-of-fold scores (teacher.py) do not.

Source: own; the second line is AuroLA's cross entropy of the answers (spec/recipes.md C.4) with Yes and No equally heavy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...engine.cli.output import progress_bar
from ...errors import InputError
from .. import parallel
from ..ahead import Ahead
from ..config import TrainSettings
from ..data import Row
from ..data.index import ids_of
from ..draw import DROPOUT, ITEM, ORDER, draw_rows, draw_text, fitting, rng_of, seed_torch, texts_of
from ..features import FeatureCache, write_cache
from ..losses import distilled_ranking, in_batch_rerank
from ..losses.gather import gather_rows
from ..models.joint_layers import Heard
from ..models.joint_reranker import JointReranker
from ..teacher import Teacher
from .build import autocast
from .rerank import read_negatives
from .yes_no import YesNoTask, open_data, open_model

# Rows of a batch that lie near one another, where it is made of such.
GROUP = 8


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """This process's sounds, the states of all texts of the batch, which pairs fit, and what the teacher gives them."""

    sounds: list[Heard]
    texts: list[np.ndarray]
    fits_BB: torch.Tensor
    teacher_BB: torch.Tensor | None


def build(settings: TrainSettings) -> "JointRerankTask":
    """The task of the settings.

    Raises:
        InputError: batch.max_rows leaves no room for a sound's first and last token, spans are to be blanked, or one of
            data.teacher and loss.distilled is there without the other.
    """
    if settings.batch.max_rows is not None and settings.batch.max_rows < 2:
        raise InputError(f"batch.max_rows is {settings.batch.max_rows}, wanted 2 or more, or none")
    if settings.batch.mask_probability:
        raise InputError(
            f"batch.mask_probability is {settings.batch.mask_probability}, wanted 0: kept states have no blanks"
        )
    if (settings.data.teacher is None) != (settings.loss.distilled == 0):
        raise InputError(
            f"data.teacher is {settings.data.teacher} and loss.distilled {settings.loss.distilled}; wanted both or neither"
        )
    model = open_model(settings, JointReranker)
    train, val, features = open_data(settings, model)
    folder = Path(settings.data.states or Path(settings.out) / "states")
    texts = dict.fromkeys(text for row in [*train, *val] for of_kind in texts_of(row).values() for text in of_kind)
    with autocast(settings, model.backbone.device):
        sounds = _kept(folder / "sounds", [*train, *val], lambda rows: model.sound_states(features.of(rows)), settings)
        said = _kept(
            folder / "texts",
            [Row(t, None) for t in texts],
            lambda rows: model.text_states([r.id for r in rows]),
            settings,
        )
    return JointRerankTask(model, train, val, sounds, said, settings)


def _kept(
    folder: Path, rows: Sequence[Row], states: Callable[[Sequence[Row]], list[np.ndarray]], settings: TrainSettings
) -> FeatureCache:
    """The states of all rows, computed where the folder has none yet.

    Raises:
        InputError: float16, in which they are kept, cannot hold them; or the folder has another model's.
    """
    made_by = f"{settings.recipe} on {settings.model} with {settings.merged}"
    if parallel.is_first() and not (folder / "clips.json").is_file():
        with progress_bar(f"states of {folder.name}", len(rows)) as advance:

            def encode(some: Sequence[Row]) -> Iterator[np.ndarray]:
                found = states(some)
                advance(len(some))
                if max(float(np.abs(one).max()) for one in found) > np.finfo(np.float16).max:
                    raise InputError(f"{folder}: states of {some[0].id!r} or its neighbours do not fit float16")
                return iter(found)

            write_cache(folder, rows, encode, made_by)
    parallel.wait_for_all()
    kept = FeatureCache(folder)
    if kept.source != made_by:
        raise InputError(f"{folder}: holds states of {kept.source}, wanted {made_by}; give data.states another folder")
    return kept


class JointRerankTask(YesNoTask[JointReranker]):
    """A Task of `training.loop`. Validation cuts its rows into batches and says how often a batch's right text has a sound's
    highest odds, and its right sound a text's."""

    def __init__(
        self,
        model: JointReranker,
        train: Sequence[Row],
        val: Sequence[Row],
        sounds: FeatureCache,
        texts: FeatureCache,
        settings: TrainSettings,
    ) -> None:
        super().__init__(model, settings)
        self.train, self.val = train, val
        self.sounds, self.texts = sounds, texts
        self._teacher = None if settings.data.teacher is None else Teacher(settings.data.teacher)
        self._near = _near(settings, train)
        self._batch = Ahead(self._draw, settings.optim.num_steps)

    def backward(self, step: int) -> dict[str, float]:
        s = self.settings
        batch = self._batch(step)
        self.model.train()
        seed_torch(s.seed, DROPOUT, step, parallel.rank())
        with autocast(s, self.model.backbone.device):
            odds_BB = gather_rows(self.odds(batch.sounds, batch.texts))
        loss = in_batch_rerank(odds_BB, batch.fits_BB, s.loss.listwise)
        if batch.teacher_BB is not None:
            loss = loss + s.loss.distilled * distilled_ranking(odds_BB, batch.teacher_BB)
        loss.backward()
        return {"loss": float(loss.detach()), "top1": top1(odds_BB.detach(), batch.fits_BB)}

    def odds(self, sounds: Sequence[Heard], texts: Sequence[np.ndarray]) -> torch.Tensor:
        """[sounds, texts] float32."""
        yes, no = self.model(sounds, texts).unbind(-1)
        return yes - no

    def _draw(self, step: int) -> Batch:
        s = self.settings
        rows = self._rows(step)
        rngs = [rng_of(s.seed, ITEM, step, place) for place in range(len(rows))]
        texts = [draw_text(row, rng, s.batch.kinds)[1] for row, rng in zip(rows, rngs)]
        own = range(len(rows))[parallel.own_part(len(rows))]
        return Batch(
            [Heard.whole(self.sounds[rows[i].id]).thinned(s.batch.max_rows, rngs[i]) for i in own],
            [self.texts[text] for text in texts],
            torch.from_numpy(fitting(rows, texts)),
            None if self._teacher is None else torch.from_numpy(self._teacher.of(rows, texts)),
        )

    def _rows(self, step: int) -> list[Row]:
        """The rows of a step; of one drawn for it, its first ones, each with some that lie near it."""
        s = self.settings
        drawn, rng = draw_rows(self.train, step, s.seed, s.batch.batch_size), rng_of(s.seed, ORDER, step)
        if rng.random() >= s.batch.near:
            return drawn
        chosen: dict[str, Row] = {}
        for row in drawn:
            near = self._near.get(row.id, [])
            for one in [row, *(self.train[near[i]] for i in rng.permutation(len(near))[: GROUP - 1])]:
                chosen[one.id] = one
            if len(chosen) >= len(drawn):
                break
        return list(chosen.values())[: len(drawn)]

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        s = self.settings
        self.model.eval()
        order = rng_of(s.seed, ITEM).permutation(len(self.val))
        found = []
        for batch in np.array_split(order, max(1, len(order) // s.batch.batch_size)):
            rows = [self.val[i] for i in batch]
            texts = [row.captions[0] for row in rows]
            sounds = [Heard.whole(self.sounds[row.id]) for row in rows]
            with autocast(s, self.model.backbone.device):
                odds_BB = self.odds(sounds, [self.texts[text] for text in texts])
            found.append(top1(odds_BB, torch.from_numpy(fitting(rows, texts))))
        accuracy = round(float(np.mean(found)), 4)
        return {"top1": accuracy, "score": accuracy}


def _near(settings: TrainSettings, train: Sequence[Row]) -> dict[str, list[int]]:
    """Places of the rows whose sounds were mined near a row's."""
    if not settings.batch.near:
        return {}
    if settings.data.negatives is None:
        raise InputError("batch.near wants data.negatives, a file of `harken mine hard`")
    place_of = {row_id: place for place, row_id in enumerate(ids_of(train))}
    mined = read_negatives(settings.data.negatives)
    return {row_id: [place_of[i] for i in near.sounds if i in place_of] for row_id, near in mined.items()}


def top1(odds_BB: torch.Tensor, fits_BB: torch.Tensor) -> float:
    """How often the diagonal is its row's and its column's largest, both halved; other fitting pairs do not count."""
    odds_BB = odds_BB.cpu().masked_fill(fits_BB & ~torch.eye(len(fits_BB), dtype=torch.bool), -torch.inf)
    own = torch.arange(len(odds_BB))
    return float(torch.stack([odds_BB.argmax(0) == own, odds_BB.argmax(1) == own]).float().mean())
