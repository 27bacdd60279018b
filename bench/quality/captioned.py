"""What a captioned dataset asks: which texts, and which sounds answer each.

A published dataset has captions of its own for every clip: every caption asks, and its clip alone answers. The project's
own sounds share captions: every different first caption asks once, and right is, by `caption`, whatever clip has it as its
first, by `group`, whatever clip is of the event class of one of those (where all clips have a class).

Source: spec/recipes.md F.1; own sounds as in training/evaluate.py.
Letters: A sounds, T texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...training.data import Row
from ...training.metrics import Ties
from .corpus import Corpus
from .results import Section
from .retrieval import Queries, asking, sound_to_text, text_to_sound, text_to_text
from .vectors import Vectors


@dataclass(frozen=True, slots=True)
class Captioned:
    """Texts that ask for sounds."""

    texts: list[str]
    # A name for each text, and which of them are no independent queries.
    text_ids: list[str]
    clusters_T: np.ndarray
    sound_ids: list[str]
    # [T, A] bool which sounds answer, by the name of the rule; "" where there is one rule.
    rights: dict[str, np.ndarray]
    # [A] a text of each sound.
    text_of_sound: np.ndarray
    # For text to text: all captions, and the number of the clip (or of clips that share captions) each belongs to.
    captions: list[str]
    owner: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus, rows: Sequence[Row]) -> "Captioned":
        """From the rows that are evaluated."""
        return cls._own(rows) if corpus.benchmark.name == "sounds" else cls._published(corpus, rows)

    @classmethod
    def _published(cls, corpus: Corpus, rows: Sequence[Row]) -> "Captioned":
        captions = [corpus.captions(row) for row in rows]
        counts = [len(of) for of in captions]
        owner = np.repeat(np.arange(len(rows)), counts)
        texts = [caption for of in captions for caption in of]
        return cls(
            texts,
            [f"{row.id}#{i}" for row, count in zip(rows, counts) for i in range(count)],
            owner,
            [row.id for row in rows],
            {"": owner[:, None] == np.arange(len(rows))},
            np.cumsum([0, *counts[:-1]]),
            texts,
            owner,
        )

    @classmethod
    def _own(cls, rows: Sequence[Row]) -> "Captioned":
        firsts = [row.captions[0] for row in rows]
        texts = {text: i for i, text in enumerate(dict.fromkeys(firsts))}
        text_of_sound = np.array([texts[first] for first in firsts])
        by_caption = np.arange(len(texts))[:, None] == text_of_sound
        rights = {"by caption": by_caption}
        if all(row.labels for row in rows):
            groups = np.array([row.labels[0] for row in rows])
            rights["by group"] = np.array([np.isin(groups, groups[right]) for right in by_caption])
        captions, owner = _sharing(rows)
        return cls(
            list(texts),
            list(texts),
            np.arange(len(texts)),
            [row.id for row in rows],
            rights,
            text_of_sound,
            captions,
            owner,
        )


def _sharing(rows: Sequence[Row]) -> tuple[list[str], np.ndarray]:
    """All different captions, and one number for all that hang together by clips that have two of them."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent.setdefault(text, text) != text:
            text = parent[text]
        return text

    for row in rows:
        for caption in row.captions:
            parent[root(caption)] = root(row.captions[0])
    roots = [root(text) for text in parent]
    return list(parent), np.unique(roots, return_inverse=True)[1]


def caption_sections(
    asked: Captioned,
    audio_AD: np.ndarray,
    text_TD: np.ndarray,
    *,
    queries: Queries = "all",
    ties: Ties = "pessimistic",
    seed: int = 0,
    suffix: str = "",
) -> list[Section]:
    """Text to sound and sound to text by every rule; `suffix` names what was done to the sounds."""
    rows = asking(asked.clusters_T, queries)
    sections = []
    for rule, right in asked.rights.items():
        name = (f" {rule}" if rule else "") + suffix
        sections += [
            text_to_sound(
                text_TD[rows],
                audio_AD,
                right[rows],
                ids=[asked.text_ids[i] for i in rows],
                clusters_T=asked.clusters_T[rows],
                ties=ties,
                seed=seed,
                key=f"t2a{name}",
                title=f"text to sound{name}",
            ),
            sound_to_text(
                audio_AD,
                text_TD,
                right.T,
                ids=asked.sound_ids,
                ties=ties,
                seed=seed,
                key=f"a2t{name}",
                title=f"sound to text{name}",
            ),
        ]
    return sections


def text_section(
    asked: Captioned,
    vectors: Vectors,
    *,
    queries: Queries = "all",
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> list[Section]:
    """Text to text, where every clip has two captions; else nothing."""
    if np.bincount(asked.owner).min() < 2:
        return []
    text = vectors.texts(asked.captions)
    return [text_to_text(text, asked.owner, ids=asked.captions, queries=queries, ties=ties, seed=seed)]
