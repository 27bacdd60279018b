"""User-intent queries (UIQ): reading the published files, and scoring the five kinds.

    folder/...question_queries.jsonl, imperative, paraphrase, tagging (the paper's keyphrase), negative

Rows of the first four kinds name their clip and a `generated_query`; negative rows have `negative_query` ("a dog barks, but
no rain") and `negative_captions`, the captions of the clip that must not be found, without its id. That id is rebuilt by
caption identity among the rows of the dataset: exact, then with case, blanks and repetitions folded, then as a part of a
longer record, then by the largest number of captions in common. Files of our own say `negative_audio_id`.

Source: spec/recipes.md B.6 (released files), F.1 (measures).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...training.data.record import SOUND_ENDINGS, RecordError
from ...training.metrics import Ties, first_ranks
from .lines import lines, naming
from .metrics import UIQ_KINDS, average_uiq, hard_negative_measures, target_and_negative_ranks
from .results import Measure, Section, mean, recalls
from .retrieval import unit

SHARED = "Queries to sound: R@k counts every clip with the target's caption; HNSR, TFR and dRank the target alone."


@dataclass(frozen=True, slots=True)
class Query:
    """One query and the clips it means, as positions among the candidates."""

    text: str
    target: int
    # Of negative queries: the clip that must not be found.
    negative: int | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """A candidate: its id, and all captions its queries may have been made from."""

    id: str
    captions: tuple[str, ...]


@dataclass(slots=True)
class Queries:
    """The queries of all kinds, and how many of them ask for a clip that is not among the candidates."""

    by_kind: dict[str, list[Query]]
    num_without_clip: int = 0


def read_queries(folder: Path, clips: Sequence[Clip], *, allow_missing: bool = False) -> Queries:
    """Read the five files.

    Args:
        folder: with one file a kind, perhaps in subfolders.
        clips: the candidates.
        allow_missing: queries whose clip or hard negative is no candidate are left out and counted.

    Raises:
        InputError: a file is missing or there twice, a row lacks a column or has an empty or repeated query, or a clip that
            no candidate is; the text names file, row and column.
    """
    by_id = _by_id(clips)
    exact, sets = _by_captions(clips)
    queries = Queries({})
    for kind in UIQ_KINDS:
        path = _file(folder, kind)
        found: list[Query] = []
        seen: set[tuple[str, str]] = set()
        column = "negative_query" if kind == "negative" else "generated_query"
        for record in lines(path):
            with naming(record):
                text, audio_id = record.text(column), record.text("audio_id")
                if (audio_id, text) in seen:
                    raise RecordError(column, f"the same query of {audio_id!r} is there twice")
                seen.add((audio_id, text))
                target = next((by_id[name] for name in _names(audio_id) if name in by_id), None)
                negative = None
                if kind == "negative" and record.optional("negative_audio_id"):
                    negative = next((by_id[n] for n in _names(record.text("negative_audio_id")) if n in by_id), None)
                elif kind == "negative":
                    negative = _clip_of(record.texts("negative_captions"), exact, sets, target)
                if target is not None and (kind != "negative" or negative is not None):
                    found.append(Query(text, target, negative))
                    continue
                queries.num_without_clip += 1
                if not allow_missing:
                    where, what = ("audio_id", repr(audio_id)) if target is None else ("negative_captions", "they")
                    raise RecordError(
                        where, f"{what} fits none of the {len(clips)} clips; --allow-missing leaves the query out"
                    )
        if not found:
            raise InputError(f"{path}: holds no query for any of the {len(clips)} candidates")
        queries.by_kind[kind] = found
    return queries


def score_queries(
    queries: Queries,
    vectors: dict[str, np.ndarray],
    audio_AD: np.ndarray,
    clips: Sequence[Clip],
    *,
    right_of_clip: np.ndarray | None = None,
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> list[Section]:
    """A section a kind, and the average.

    Args:
        vectors: of the queries of each kind, in their order.
        audio_AD: of the candidates.
        right_of_clip: [A, A] bool, which candidates count as right where a clip is meant; None: itself alone. Hard negatives
            are measured against the clip itself.
    """
    audio = unit(audio_AD)
    sections = []
    for kind, asked in queries.by_kind.items():
        scores = unit(vectors[kind]) @ audio.T
        target = np.array([query.target for query in asked])
        right = target[:, None] == np.arange(len(audio)) if right_of_clip is None else right_of_clip[target]
        ranks = first_ranks(scores, right, ties=ties)
        section = Section(
            f"uiq {kind}",
            f"{kind} queries to sound",
            recalls(ranks, right, clusters_Q=target, seed=seed),
            len(scores),
            scores.shape[1],
            ranks=ranks,
            query_ids=[clips[t].id for t in target],
            per_query={"rank": ranks},
            notes=[] if right_of_clip is None else [SHARED],
        )
        if kind == "negative":
            negative = np.array([query.negative for query in asked])
            target_ranks, negative_ranks = target_and_negative_ranks(scores, target, negative, ties=ties)
            for name, values in hard_negative_measures(target_ranks, negative_ranks).items():
                measured = mean(values, clusters_Q=target, seed=seed)
                section.measures[name] = replace(measured, is_share=name != "dRank")
                section.per_query[name] = values
            section.per_query["target rank"] = target_ranks
            section.negative_ranks = negative_ranks
        sections.append(section)
    average = average_uiq({s.key.removeprefix("uiq "): s.measures["R@5"].value for s in sections})
    counts = sum(s.num_queries for s in sections)
    sections.append(Section("uiq average", "mean R@5 of the five kinds", {"Avg": Measure(average)}, counts, len(audio)))
    return sections


def fold(text: str) -> str:
    """Case and blanks made equal."""
    return " ".join(text.lower().split())


def _names(audio_id: str) -> list[str]:
    """The id, and it without folders and ending."""
    base = audio_id.replace("\\", "/").rsplit("/", 1)[-1]
    stem = next((base[: -len(e)] for e in SOUND_ENDINGS if base.lower().endswith(e)), base)
    return [audio_id, base, stem]


def _by_id(clips: Sequence[Clip]) -> dict[str, int]:
    places: dict[str, int] = {}
    for i, clip in enumerate(clips):
        for name in _names(clip.id):
            places.setdefault(name, i)
    return places


def _by_captions(clips: Sequence[Clip]) -> tuple[dict[tuple[str, ...], list[int]], list[frozenset[str]]]:
    exact: dict[tuple[str, ...], list[int]] = {}
    for i, clip in enumerate(clips):
        for key in {tuple(clip.captions), _folded(clip.captions)}:
            exact.setdefault(key, []).append(i)
    return exact, [frozenset(map(fold, clip.captions)) for clip in clips]


def _folded(captions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(fold, captions)))


def _clip_of(
    captions: tuple[str, ...],
    exact: dict[tuple[str, ...], list[int]],
    sets: list[frozenset[str]],
    target: int | None,
) -> int | None:
    """The one clip these are captions of; None where no or more than one clip fits equally well."""
    for key in (captions, _folded(captions)):
        if len(places := [i for i in exact.get(key, []) if i != target]) == 1:
            return places[0]
    wanted = frozenset(map(fold, captions))
    common = Counter({i: len(wanted & of) for i, of in enumerate(sets) if i != target and wanted & of})
    for test in (lambda i: wanted == sets[i], lambda i: wanted <= sets[i] or sets[i] <= wanted):
        if len(places := [i for i in common if test(i)]) == 1:
            return places[0]
    best = common.most_common(2)
    if best and 2 * best[0][1] >= len(wanted) and (len(best) == 1 or best[0][1] > best[1][1]):
        return best[0][0]
    return None


def _file(folder: Path, kind: str) -> Path:
    found = sorted(folder.rglob(f"*{kind}_queries.jsonl"))
    if len(found) != 1:
        told = f"{len(found)} of them: {', '.join(p.name for p in found[:3])}" if found else "none"
        raise InputError(f"{folder}: wanted one file *{kind}_queries.jsonl, there are {told}")
    return found[0]
