"""Questions about sounds: the speech that answers a question (LibriSQA), the right one of some choices (MMAU).

    LibriSQA   question (or answer, or both) to speech and back; right is the utterance it was asked of
    MMAU       argmax_c cos(vector of sound and question, vector of choice c) == answer

ALM2Vec does not say which part and side of LibriSQA it uses; part I and the question are the default, as in the
literature. A recipe that takes no sound together with a text can be asked by the sound alone, by name: `side="audio"`.

Source: spec/recipes.md D.4, F.1.
Letters: A sounds, T texts, D dimensions.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from ...errors import InputError
from ...training.data import Row
from ...training.metrics import Ties
from .metrics import chosen_right
from .results import Measure, Section, mean
from .retrieval import sound_to_text, text_to_sound, unit
from .sounds import Sound
from .vectors import Vectors

SpokenSide = Literal["question", "answer", "both"]
ChoiceSide = Literal["audio+question", "audio"]


def spoken(
    rows: Sequence[Row],
    sound_of_row: np.ndarray,
    audio_AD: np.ndarray,
    vectors: Vectors,
    *,
    side: SpokenSide = "question",
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> list[Section]:
    """Both directions of LibriSQA; an utterance with several questions is one candidate.

    Args:
        rows: one a question.
        sound_of_row: the position of each row's utterance in audio_AD.
        audio_AD: vectors of the utterances.
        vectors: embeds the texts.

    Raises:
        InputError: an unknown side, or a row without question or answer.
    """
    if side not in get_args(SpokenSide):
        raise InputError(f"side is {side!r}; wanted one of {get_args(SpokenSide)}")
    texts = []
    for row in rows:
        if not row.question or not row.answer:
            raise InputError(f"{row.id}: has no question or no answer; wanted both")
        texts.append({"question": row.question, "answer": row.answer, "both": f"{row.question} {row.answer}"}[side])
    right = sound_of_row[:, None] == np.arange(len(audio_AD))
    text = vectors.texts(texts)
    names = dict(zip(reversed(sound_of_row.tolist()), reversed([row.id for row in rows])))
    return [
        text_to_sound(
            text,
            audio_AD,
            right,
            ids=[row.id for row in rows],
            clusters_T=sound_of_row,
            ties=ties,
            seed=seed,
            title=f"{side} to speech",
        ),
        sound_to_text(
            audio_AD,
            text,
            right.T,
            ids=[names[i] for i in range(len(audio_AD))],
            ties=ties,
            seed=seed,
            title=f"speech to {side}",
        ),
    ]


def choices(
    rows: Sequence[Row], vectors: Vectors, *, side: ChoiceSide = "audio+question", seed: int = 0
) -> list[Section]:
    """Accuracy of all questions and of each task; a wrong choice with the same score wins.

    Raises:
        InputError: an unknown side, a row without choices, or a recipe that takes no sound together with a text.
    """
    if side not in get_args(ChoiceSide):
        raise InputError(f"side is {side!r}; wanted one of {get_args(ChoiceSide)}")
    for row in rows:
        if row.answer not in row.choices or not row.question:
            raise InputError(f"{row.id}: its answer is none of its choices, or it has no question")
    if side == "audio":
        asked = vectors.sounds([Sound.of_row(row) for row in rows])
    else:
        asked = vectors.sounds_with_text([(Sound.of_row(row), row.question or "") for row in rows])
    texts = unit(vectors.texts([choice for row in rows for choice in row.choices]))
    stops = np.cumsum([len(row.choices) for row in rows])
    scores = [texts[stop - len(row.choices) : stop] @ vector for row, stop, vector in zip(rows, stops, unit(asked))]
    right = chosen_right(scores, [row.choices.index(row.answer or "") for row in rows])
    by_chance = np.array([1 / len(row.choices) for row in rows])
    tasks = np.array([str(row.metadata.get("task", "")) for row in rows])
    sections = []
    for task in ["", *sorted(set(tasks) - {""})]:
        of = np.ones(len(rows), bool) if not task else tasks == task
        found = mean(right[of], seed=seed)
        accuracy = Measure(found.value, found.low, found.high, float(by_chance[of].mean()))
        ids = [row.id for row, there in zip(rows, of) if there]
        sections.append(
            Section(
                "choice" + (f" {task}" if task else ""),
                "choice" + (f", {task}" if task else ", all tasks") + f", asked by {side}",
                {"accuracy": accuracy},
                int(of.sum()),
                int(stops[-1]) if not task else sum(len(r.choices) for r, there in zip(rows, of) if there),
                query_ids=ids,
                per_query={"accuracy": right[of]},
            )
        )
    return sections
