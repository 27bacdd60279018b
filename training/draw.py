"""What makes up each step: rows, their texts, crops of their sounds.

Every random choice comes from (seed, purpose, step, position in the batch) and from nothing else. So no two items share their
choices, a resumed run draws as if it had not stopped, and neither the number of threads nor of processes changes a batch.

Source: own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from ..errors import InputError
from .data import Row
from .data.index import IndexedRows

KINDS = ("long", "short", "tags")
# Numbers of the purposes that randomness is drawn for.
ORDER, ITEM, WHITENING, DROPOUT = 1, 2, 3, 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How batches are drawn."""

    # Pairs a step, of all processes together; every other pair is a negative.
    batch_size: int = 128
    # Longest crop of a sound in rows of features; None: whole sounds.
    max_rows: int | None = None
    # How often each kind of text is taken, among the kinds that a row has.
    kinds: Mapping[str, float] = field(default_factory=lambda: {"long": 1.0, "short": 1.0, "tags": 1.0})
    # How often a span of a sound's features is blanked, and the longest such span as a part of the sound.
    mask_probability: float = 0.0
    max_masked: float = 0.2
    # Joint reranker: how often a batch is made of rows and of sounds that were mined near them.
    near: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise InputError(
                f"batch_size is {self.batch_size}, wanted 2 or more: the others of a batch are the negatives"
            )
        if not set(self.kinds) <= set(KINDS) or not sum(self.kinds.values()) > 0 or min(self.kinds.values()) < 0:
            raise InputError(f"kinds is {dict(self.kinds)}, wanted weights of {KINDS}, none negative, one above 0")


def rng_of(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """The randomness of one place."""
    return np.random.default_rng([seed, purpose, *place])


def seed_torch(seed: int, purpose: int, *place: int) -> None:
    """Make torch's randomness (dropout) that of one place."""
    torch.manual_seed(int(np.random.SeedSequence([seed, purpose, *place]).generate_state(1)[0]))


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    return max(1, num_rows // batch_size)


def draw_rows(rows: Sequence[T], step: int, seed: int, batch_size: int) -> list[T]:
    """The rows of a step; in an epoch none comes twice.

    Raises:
        InputError: there are fewer rows than a batch takes.
    """
    if len(rows) < batch_size:
        raise InputError(f"{len(rows)} rows to train on, wanted a batch of {batch_size} or more")
    epoch, place = divmod(step, steps_per_epoch(len(rows), batch_size))
    if isinstance(rows, IndexedRows):
        order = rows.order((seed, ORDER, epoch))
    else:
        order = rng_of(seed, ORDER, epoch).permutation(len(rows))
    return [rows[i] for i in order[place * batch_size : (place + 1) * batch_size]]


def tag_text(row: Row) -> str:
    """A row's tags as a text."""
    return ", ".join(row.tags)


def texts_of(row: Row) -> dict[str, tuple[str, ...]]:
    """A row's texts by their kind, without the kinds that it lacks."""
    found = {"long": row.long, "short": row.short, "tags": (tag_text(row),) if row.tags else ()}
    return {kind: texts for kind, texts in found.items() if texts}


def draw_text(
    row: Row, rng: np.random.Generator, kinds: Mapping[str, float], taken: str | None = None
) -> tuple[str, str]:
    """One of a row's texts other than `taken`: its kind and itself.

    Raises:
        InputError: the row has none.
    """
    there = {kind: [t for t in texts if t != taken] for kind, texts in texts_of(row).items() if kinds.get(kind, 0) > 0}
    there = {kind: texts for kind, texts in there.items() if texts}
    if not there:
        raise InputError(f"row {row.id!r} has no {'other ' if taken else ''}text of the kinds {sorted(kinds)}")
    weights = np.array([kinds[kind] for kind in there])
    kind = list(there)[int(rng.choice(len(there), p=weights / weights.sum()))]
    return kind, there[kind][int(rng.integers(len(there[kind])))]


def fitting(rows: Sequence[Row], texts: Sequence[str]) -> np.ndarray:
    """[B, B] bool, symmetric: the text of one is also a text of the other."""
    said = [{text for texts_ in texts_of(row).values() for text in texts_} for row in rows]
    fits = np.array([[text in of_row for text in texts] for of_row in said])
    return fits | fits.T


def crop(features: np.ndarray, rng: np.random.Generator, settings: BatchSettings) -> np.ndarray:
    """A random crop of a sound's [rows, W] features, perhaps with a span of it blanked."""
    max_rows = settings.max_rows or len(features)
    if len(features) > max_rows:
        start = rng.integers(len(features) - max_rows + 1)
        features = features[start : start + max_rows]
    if rng.random() < settings.mask_probability and len(features) > 4:
        width = int(rng.integers(1, max(2, int(settings.max_masked * len(features)) + 1)))
        start = rng.integers(len(features) - width + 1)
        features = features.copy()
        features[start : start + width] = 0
    return features
