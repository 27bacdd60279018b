"""Hard negatives: what a model takes for right and is not.

For the reranker, of each sound the captions, and of each caption the sounds, that score best and are not its own.
For OEA's benchmark of negations and its training, pairs of clips that sound alike and are described otherwise, in four stages:

    1  acoustic      the k nearest clips of each clip by audio vectors
    2  text          of these, pairs with  max_{i,j} cos(caption_i, caption_j) < max_text
    3  review        of these, the acoustically nearest, `overshoot` times as many as are wanted, to a file for a person
    4  final         accepted pairs, the `per_clip` nearest of each clip

Source: AuroLA (32 negatives); OEA (k = 20, max_text = 0.7 by BGE-large, about 3 times the target for review, one a clip; its
code takes k = 50 and has neither threshold nor review; how the paper sets the acoustic threshold is not published: here it is
the similarity that leaves `overshoot` times the target).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from ..errors import InputError
from ..kernels.topk import MAX_K, topk
from .captions.clusters import TextEncoder
from .data.leakage import plain
from .data.row import Row
from .review import ACCEPTED, REJECTED, Pair

NUM_HARD = 32
# Queries searched at once: bounds the scores in memory.
QUERIES = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of the corpus for each query, best first."""

    ids: list[list[int]]
    scores: list[list[float]]


def nearest_others(
    queries_QD: np.ndarray,
    corpus_ND: np.ndarray,
    own: Sequence[Collection[int]],
    k: int = NUM_HARD,
    *,
    max_score: float | None = None,
    min_score: float | None = None,
) -> Found:
    """The k best rows of a corpus for each query that are none of its own.

    Args:
        queries_QD: [Q, D] float32.
        corpus_ND: [N, D] float32.
        own: for each query, rows that fit it.
        k: how many; fewer where the corpus has no more, or the query's own rows and those left out take the best 1,024 places.
        max_score: what scores higher is left out: it may be right and unmarked. None: nothing is.
        min_score: what scores lower is left out: it is not hard. None: nothing is.

    Raises:
        InputError: k is out of reach; else as `topk`.
    """
    if not 1 <= k <= MAX_K:
        raise InputError(f"k is {k}; wanted 1 to {MAX_K}")
    reach = min(MAX_K, k + max((len(of) for of in own), default=0))
    corpus = torch.from_numpy(np.ascontiguousarray(corpus_ND, np.float32))
    found = Found([], [])
    for start in range(0, len(queries_QD), QUERIES):
        queries = torch.from_numpy(np.ascontiguousarray(queries_QD[start : start + QUERIES], np.float32))
        # What is too near takes places too.
        hits = topk(queries, corpus, min(reach if max_score is None else MAX_K, len(corpus)))
        for i, (scores, ids) in enumerate(zip(hits.scores_QK.tolist(), hits.ids_QK.tolist()), start):
            kept = [
                (row, score)
                for row, score in zip(ids, scores)
                if row >= 0
                and row not in own[i]
                and (max_score is None or score <= max_score)
                and (min_score is None or score >= min_score)
            ][:k]
            found.ids.append([row for row, _ in kept])
            found.scores.append([score for _, score in kept])
    return found


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """What a model takes for the text, or the sound, of a row and is not; nearest first."""

    # Of the row.
    id: str
    # Captions of other rows, the ids of these, and the scores with the row's sound.
    texts: list[str]
    text_ids: list[str]
    text_scores: list[float]
    # Ids of other rows, and their sounds' scores with the row's captions.
    sounds: list[str]
    sound_scores: list[float]

    def line(self) -> str:
        """The fields as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def mine_hard(
    rows: Sequence[Row],
    audio_ND: np.ndarray,
    text_MD: np.ndarray,
    *,
    k: int = NUM_HARD,
    max_score: float | None = None,
    min_score: float | None = None,
) -> list[HardNegatives]:
    """Hard negatives of every row both ways, for a reranker.

    Args:
        rows: with captions.
        audio_ND: unit vectors of the rows' sounds.
        text_MD: unit vectors of all rows' captions, row by row, in the order of `Row.captions`.
        k, max_score, min_score: as `nearest_others`. Captions that say the same but for case and
            punctuation count once, and are no negatives of a row that has one of them.

    Returns: in the order of the rows.

    Raises:
        InputError: vectors and rows do not add up; else as `nearest_others`.
    """
    owners = [i for i, row in enumerate(rows) for _ in row.captions]
    captions = [caption for row in rows for caption in row.captions]
    if len(audio_ND) != len(rows) or len(text_MD) != len(captions):
        raise InputError(
            f"{len(rows)} rows with {len(captions)} captions have {len(audio_ND)} and {len(text_MD)} vectors; wanted one each"
        )
    # Of captions that say the same the first stands for all.
    said = [plain(caption) for caption in captions]
    firsts = {text: m for m, text in reversed(list(enumerate(said)))}
    different = sorted(firsts.values())
    place = {m: u for u, m in enumerate(different)}
    own_texts: list[set[int]] = [set() for _ in rows]
    having: list[set[int]] = [set() for _ in different]
    for owner, text in zip(owners, said):
        own_texts[owner].add(place[firsts[text]])
        having[place[firsts[text]]].add(owner)
    # A sound that has any of a row's captions is none of its negatives.
    fitting = [set().union({i}, *(having[u] for u in own)) for i, own in enumerate(own_texts)]
    own_sounds = [fitting[owner] for owner in owners]
    texts = nearest_others(audio_ND, text_MD[different], own_texts, k, max_score=max_score, min_score=min_score)
    sounds = nearest_others(text_MD, audio_ND, own_sounds, k, max_score=max_score, min_score=min_score)
    best: list[dict[int, float]] = [{} for _ in rows]
    for m, (ids, scores) in enumerate(zip(sounds.ids, sounds.scores)):
        of_row = best[owners[m]]
        for n, score in zip(ids, scores):
            of_row[n] = max(score, of_row.get(n, score))
    mined = []
    for i, row in enumerate(rows):
        near = sorted(best[i].items(), key=lambda item: (-item[1], item[0]))[:k]
        mined.append(
            HardNegatives(
                row.id,
                texts=[captions[different[u]] for u in texts.ids[i]],
                text_ids=[rows[owners[different[u]]].id for u in texts.ids[i]],
                text_scores=[round(score, 6) for score in texts.scores[i]],
                sounds=[rows[n].id for n, _ in near],
                sound_scores=[round(score, 6) for _, score in near],
            )
        )
    return mined


@dataclass(frozen=True, slots=True)
class PairSettings:
    """Stages 1 to 3."""

    # Nearest clips of each clip.
    k: int = 20
    # Least acoustic cosine; None: the one that leaves `overshoot` times the target.
    min_acoustic: float | None = None
    # Pairs are as good as the same sound above this; None: no limit.
    max_acoustic: float | None = None
    # Captions of a pair must all be less alike than this.
    max_text: float = 0.7
    # Pairs to review for each that is wanted.
    overshoot: float = 3.0
    # Pairs wanted in the end; None: `per_clip` for each clip.
    num_wanted: int | None = None
    per_clip: int = 1

    def __post_init__(self) -> None:
        if self.k < 1 or self.per_clip < 1 or self.overshoot < 1 or (self.num_wanted or 1) < 1:
            raise InputError(
                f"k, per_clip, overshoot, num_wanted are {self.k}, {self.per_clip}, {self.overshoot}, {self.num_wanted}; "
                "wanted at least 1"
            )


@dataclass(frozen=True, slots=True)
class Mined:
    """Pairs for review, nearest first, and how many each stage left."""

    pairs: list[Pair]
    num_acoustic: int
    num_text: int
    # The acoustic similarity of the last pair; None where there is none.
    threshold: float | None


def mine_pairs(rows: Sequence[Row], audio_ND: np.ndarray, encoder: TextEncoder, settings: PairSettings) -> Mined:
    """Stages 1 to 3: pairs of clips that sound alike and are described otherwise.

    Args:
        rows: with captions.
        audio_ND: unit vectors of the rows' sounds.
        encoder: of sentences; OEA's is BGE-large-en-v1.5.
        settings: of the stages.

    Raises:
        InputError: vectors and rows do not add up, or a row has no caption.
    """
    if len(audio_ND) != len(rows):
        raise InputError(f"{len(rows)} rows have {len(audio_ND)} vectors; wanted one each")
    if silent := [row.id for row in rows if not row.captions]:
        raise InputError(f"{silent[0]}: has no caption, as {len(silent) - 1} more; wanted one a row")
    near = nearest_others(audio_ND, audio_ND, _recordings(rows), settings.k, max_score=settings.max_acoustic)
    # Both directions are one pair: a person decides once.
    scores = {(min(i, j), max(i, j)): s for i, ids in enumerate(near.ids) for j, s in zip(ids, near.scores[i])}
    pairs = [(i, j, score) for (i, j), score in sorted(scores.items())]
    alike = _caption_similarity(rows, pairs, encoder)
    unlike = [(i, j, score, text) for (i, j, score), text in zip(pairs, alike) if text < settings.max_text]
    unlike.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
    if settings.min_acoustic is not None:
        left = [pair for pair in unlike if pair[2] >= settings.min_acoustic]
    else:
        wanted = settings.num_wanted or settings.per_clip * len(rows)
        left = unlike[: int(np.ceil(settings.overshoot * wanted))]
    return Mined(
        [Pair(rows[i].id, rows[j].id, round(score, 6), round(text, 6)) for i, j, score, text in left],
        num_acoustic=len(pairs),
        num_text=len(unlike),
        threshold=left[-1][2] if left else None,
    )


def _recordings(rows: Sequence[Row]) -> list[set[int]]:
    """For each row, all rows of its recording."""
    of: dict[str, set[int]] = {}
    for i, row in enumerate(rows):
        for origin in row.origins:
            of.setdefault(origin, set()).add(i)
    return [set().union({i}, *(of[origin] for origin in row.origins)) for i, row in enumerate(rows)]


def _caption_similarity(
    rows: Sequence[Row], pairs: Sequence[tuple[int, int, float]], encoder: TextEncoder
) -> list[float]:
    """The largest cosine between any captions of the two rows of each pair."""
    needed = sorted({i for pair in pairs for i in pair[:2]})
    captions = [caption for i in needed for caption in rows[i].captions]
    if not captions:
        return []
    vectors = np.asarray(encoder.encode_text(captions), np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ends = np.cumsum([len(rows[i].captions) for i in needed])
    of = dict(zip(needed, np.split(vectors, ends[:-1])))
    return [float((of[i] @ of[j].T).max()) for i, j, _ in pairs]


def final_pairs(pairs: Sequence[Pair], per_clip: int = 1, *, unreviewed: bool = False) -> dict[str, list[str]]:
    """Stage 4: of each clip, its nearest accepted ones; a pair counts for both its clips.

    Args:
        pairs: with decisions.
        per_clip: at most; OEA's training takes up to 4, its benchmark 1.
        unreviewed: pairs without a decision count as accepted.

    Raises:
        InputError: no pair is accepted.
    """
    good = [p for p in pairs if p.decision == ACCEPTED or (unreviewed and p.decision != REJECTED)]
    if not good:
        told = sum(bool(p.decision) for p in pairs)
        raise InputError(f"no pair of {len(pairs)} is accepted; {told} have a decision")
    final: dict[str, list[str]] = {}
    for pair in sorted(good, key=lambda p: -p.acoustic):
        for clip, other in ((pair.anchor, pair.candidate), (pair.candidate, pair.anchor)):
            of = final.setdefault(clip, [])
            if len(of) < per_clip and other not in of:
                of.append(other)
    return final


def with_negatives(rows: Sequence[Row], final: dict[str, list[str]]) -> list[Row]:
    """Rows with the captions of their negatives, for those that have some."""
    by_id = {row.id: row for row in rows}
    return [
        replace(row, negatives=tuple(c for other in final[row.id] if other in by_id for c in by_id[other].captions))
        if row.id in final
        else row
        for row in rows
    ]
