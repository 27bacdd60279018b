"""The protocols: from the rows of a dataset and a model to sections of measures.

    captions    text to sound, sound to text, text to text, modality gap; with noise, with user-intent queries, and against
                caption-then-text baselines where they are asked for
    labels      sound to label and label to sound
    questions   LibriSQA
    choices     MMAU

Source: spec/recipes.md F.1; what each needs of a model is in its own module.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AudioError, InputError
from ...training.data import Row
from ...training.metrics import Ties
from .baselines import cascade_sections, nearest_captions, read_captions, read_known_captions
from .captioned import Captioned, caption_sections, text_section
from .corpus import Corpus
from .gap import Projection, modality_gap, project
from .labels import PLAIN, by_labels, classes, label_texts
from .noise import SNRS_DB, Noise
from .questions import ChoiceSide, SpokenSide, choices, spoken
from .results import Section
from .retrieval import Queries
from .sounds import Sound
from .triplets import read_triplets, score_triplets
from .uiq import Clip, read_queries, score_queries
from .vectors import Vectors

# Which kinds of benchmarks a setting is for.
USED_BY = {
    "noise": ("captions", "labels"),
    "uiq": ("captions",),
    "captions": ("captions",),
    "known_captions": ("captions",),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a protocol leaves open; the defaults are those the docs state."""

    ties: Ties = "pessimistic"
    seed: int = 0
    queries: Queries = "all"
    label_template: str = PLAIN
    spoken_side: SpokenSide = "question"
    choice_side: ChoiceSide = "audio+question"
    noise: Path | None = None
    snrs_db: tuple[float, ...] = SNRS_DB
    uiq: Path | None = None
    captions: Path | None = None
    known_captions: Path | None = None
    projection: str = "pca"
    # Clips that cannot be embedded, and queries whose clip is not there, are left out and counted.
    allow_missing: bool = False

    def facts(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: str(value) if isinstance(value, Path) else value for name, value in named.items()}


@dataclass(slots=True)
class Evaluation:
    """What came of one dataset."""

    corpus: Corpus
    sections: list[Section]
    # One line for each clip that could not be embedded.
    failed: list[str] = field(default_factory=list)
    queries_without_clip: int = 0
    projection: Projection | None = None


def evaluate(corpus: Corpus, vectors: Vectors, settings: Settings) -> Evaluation:
    """Run the protocol of a dataset.

    Raises:
        AudioError: a sound cannot be embedded, and `allow_missing` is off.
        InputError: what the protocol needs is not there; the text names it.
    """
    _check(corpus, settings)
    if corpus.benchmark.kind == "triplets":
        return Evaluation(corpus, score_triplets(read_triplets(corpus.annotation), vectors, seed=settings.seed))
    if corpus.benchmark.kind == "choices":
        return Evaluation(corpus, choices(corpus.rows, vectors, side=settings.choice_side, seed=settings.seed))
    rows, sounds, audio, failed = _embedded(corpus.rows, vectors, settings)
    done = Evaluation(corpus, [], failed)
    if corpus.benchmark.kind == "questions":
        done.sections = spoken(
            rows, sounds, audio, vectors, side=settings.spoken_side, ties=settings.ties, seed=settings.seed
        )
    elif corpus.benchmark.kind == "labels":
        done.sections = _labels(rows, audio[sounds], vectors, settings)
    else:
        _captions(done, rows, audio[sounds], vectors, settings)
    return done


def _check(corpus: Corpus, settings: Settings) -> None:
    """Refuse what the protocol has no use for, and read every file it will need, before the sounds are embedded."""
    for name, kinds in USED_BY.items():
        if getattr(settings, name) is not None and corpus.benchmark.kind not in kinds:
            raise InputError(
                f"{corpus.benchmark.name} is a benchmark of {corpus.benchmark.kind}; {name} is for {' and '.join(kinds)}"
            )
    label_texts([], settings.label_template)
    if settings.noise is not None:
        Noise(settings.noise, 0.0)
    if settings.captions is not None:
        read_captions(settings.captions, [row.id for row in corpus.rows])
    if settings.known_captions is not None:
        read_known_captions(settings.known_captions)
    if settings.uiq is not None:
        read_queries(settings.uiq, _clips(corpus.rows), allow_missing=settings.allow_missing)


def _embedded(
    rows: Sequence[Row], vectors: Vectors, settings: Settings
) -> tuple[list[Row], np.ndarray, np.ndarray, list[str]]:
    """The rows whose sounds could be embedded, the position of each one's vector, the vectors of all different sounds."""
    place: dict[tuple[object, ...], int] = {}
    of_row = [place.setdefault((row.audio, row.start_s, row.end_s), len(place)) for row in rows]
    firsts = dict(zip(reversed(of_row), reversed(rows)))
    made, errors = vectors.try_sounds([Sound.of_row(firsts[i]) for i in range(len(place))])
    if errors and not settings.allow_missing:
        raise AudioError(
            f"{len(errors)} of {len(place)} sounds cannot be embedded, the first: {next(iter(errors.values()))}; "
            "--allow-missing evaluates the others and says so"
        )
    there = [i for i in range(len(place)) if firsts[i].id not in errors]
    position = {old: new for new, old in enumerate(there)}
    kept = [(row, position[i]) for row, i in zip(rows, of_row) if i in position]
    if not kept:
        raise AudioError(f"not one of {len(place)} sounds can be embedded; the first: {next(iter(errors.values()))}")
    lines = [f"{name}: {why}" for name, why in errors.items()]
    return [row for row, _ in kept], np.array([at for _, at in kept]), made, lines


def _labels(rows: Sequence[Row], audio: np.ndarray, vectors: Vectors, settings: Settings) -> list[Section]:
    names = classes(rows)
    texts = vectors.texts(label_texts(names, settings.label_template))
    sections = by_labels(audio, texts, rows, names, ties=settings.ties, seed=settings.seed)
    for snr_db, noisy in _noisy(rows, vectors, settings):
        for section in by_labels(noisy, texts, rows, names, ties=settings.ties, seed=settings.seed):
            name = f", noise at {snr_db:g} dB"
            sections.append(replace(section, key=section.key + name, title=section.title + name))
    return sections


def _noisy(rows: Sequence[Row], vectors: Vectors, settings: Settings) -> list[tuple[float, np.ndarray]]:
    if settings.noise is None:
        return []
    noises = [Noise(settings.noise, snr_db, seed=settings.seed) for snr_db in settings.snrs_db]
    return [(n.snr_db, vectors.sounds([Sound.of_row(row).with_noise(n) for row in rows])) for n in noises]


def _captions(done: Evaluation, rows: list[Row], audio: np.ndarray, vectors: Vectors, settings: Settings) -> None:
    asked = Captioned.of(done.corpus, rows)
    text = vectors.texts(asked.texts)
    common: dict[str, Any] = {"queries": settings.queries, "ties": settings.ties, "seed": settings.seed}
    pairs = audio, text[asked.text_of_sound]
    done.sections += caption_sections(asked, audio, text, **common)
    done.sections += text_section(asked, vectors, **common)
    done.sections.append(modality_gap(*pairs, seed=settings.seed))
    done.projection = project(*pairs, seed=settings.seed, method=settings.projection)
    if done.corpus.benchmark.name == "sounds" and all(row.labels for row in rows):
        done.sections += _labels(rows, audio, vectors, replace(settings, noise=None))
    for snr_db, noisy in _noisy(rows, vectors, settings):
        done.sections += caption_sections(asked, noisy, text, **common, suffix=f", noise at {snr_db:g} dB")
    if settings.uiq is not None:
        _user_intent(done, rows, audio, vectors, settings, settings.uiq)
    if settings.captions is not None or settings.known_captions is not None:
        generated = _generated(rows, audio, vectors, settings)
        done.sections += cascade_sections(asked, text, generated, vectors.texts(generated), **common)


def _generated(rows: Sequence[Row], audio: np.ndarray, vectors: Vectors, settings: Settings) -> list[str]:
    if settings.captions is not None:
        return read_captions(settings.captions, [row.id for row in rows])
    known = read_known_captions(settings.known_captions or Path())
    return nearest_captions(audio, vectors.texts(known), known)


def _user_intent(
    done: Evaluation, rows: Sequence[Row], audio: np.ndarray, vectors: Vectors, settings: Settings, folder: Path
) -> None:
    clips = _clips(rows)
    queries = read_queries(folder, clips, allow_missing=settings.allow_missing)
    done.queries_without_clip = queries.num_without_clip
    made = {kind: vectors.texts([query.text for query in of]) for kind, of in queries.by_kind.items()}
    same = None
    if done.corpus.benchmark.name == "sounds":
        first = np.array([row.captions[0] for row in rows])
        same = first[:, None] == first
    done.sections += score_queries(
        queries, made, audio, clips, right_of_clip=same, ties=settings.ties, seed=settings.seed
    )


def _clips(rows: Sequence[Row]) -> list[Clip]:
    return [Clip(row.id, (*row.captions, *_aspects(row))) for row in rows]


def _aspects(row: Row) -> tuple[str, ...]:
    """MECAT's captions of speech, music, sound and environment, from which its queries were made too."""
    return tuple(c for value in row.metadata.values() if isinstance(value, list) for c in value if isinstance(c, str))
