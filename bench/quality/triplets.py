"""Instruction triplets: under one instruction a sound must be nearer to the right one of two sounds.

    {"query": "a.wav", "right": "b.wav", "wrong": "c.wav", "instruction": "What is the gender of speaker in this audio?"}

A triplet is right if cos(q, right) > cos(q, wrong), all three embedded under the instruction; `flipped` counts the pairs
of lines with the same three sounds in which right and wrong change places and both come out right. The instruction goes where
the recipe takes a text with a sound, else where it takes an instruction.

Source: spec/recipes.md D.5 (ALM2Vec's demonstration); the file is harken's own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...training.data.record import RecordError
from .lines import lines, naming
from .results import Measure, Section, mean
from .retrieval import unit
from .sounds import Sound
from .vectors import Vectors


@dataclass(frozen=True, slots=True)
class Triplet:
    query: Path
    right: Path
    wrong: Path
    instruction: str


def read_triplets(path: Path) -> list[Triplet]:
    """Read JSON lines; sounds are relative to the file.

    Raises:
        InputError: names file, row and column.
    """
    triplets = []
    for record in lines(path):
        with naming(record):
            sounds = []
            for column in ("query", "right", "wrong"):
                sounds.append(path.parent / record.text(column))
                if not sounds[-1].is_file():
                    raise RecordError(column, f"there is no file {sounds[-1]}")
            triplets.append(Triplet(sounds[0], sounds[1], sounds[2], record.text("instruction")))
    if not triplets:
        raise InputError(f"{path}: holds no triplet")
    return triplets


def score_triplets(triplets: list[Triplet], vectors: Vectors, *, seed: int = 0) -> list[Section]:
    """Share of right triplets and of flips.

    Raises:
        InputError: the recipe takes neither a text with a sound nor an instruction.
    """
    recipe = vectors.model.recipe
    together = recipe.audio_text_template is not None
    if not together and "{instruction}" not in (recipe.audio_template or ""):
        raise InputError(f"recipe {recipe.name!r} takes no instruction with a sound; triplets cannot be asked")
    pairs = list(dict.fromkeys((p, t.instruction) for t in triplets for p in (t.query, t.right, t.wrong)))
    sounds = [(Sound(str(path), path), instruction) for path, instruction in pairs]
    if together:
        made = vectors.sounds_with_text(sounds)
    else:
        made = np.concatenate([vectors.sounds([sound], instruction=said) for sound, said in sounds])
    of = dict(zip(pairs, unit(made)))
    right = np.array(
        [
            float(of[t.query, t.instruction] @ of[t.right, t.instruction])
            > float(of[t.query, t.instruction] @ of[t.wrong, t.instruction])
            for t in triplets
        ]
    )
    found = mean(right, seed=seed)
    measures = {"accuracy": Measure(found.value, found.low, found.high, 0.5)}
    place = {(t.query, t.right, t.wrong): i for i, t in enumerate(triplets)}
    flips = [
        right[i] and right[place[t.query, t.wrong, t.right]]
        for i, t in enumerate(triplets)
        if (t.query, t.wrong, t.right) in place and i < place[t.query, t.wrong, t.right]
    ]
    if flips:
        measures["flipped"] = Measure(float(np.mean(flips)), chance=0.25)
    return [
        Section(
            "triplets",
            "instruction triplets",
            measures,
            len(triplets),
            2,
            query_ids=[f"{t.query.name}: {t.instruction}" for t in triplets],
            per_query={"accuracy": right},
        )
    ]
