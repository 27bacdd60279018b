"""Retrieval with captions: text to sound, sound to text, text to text.

    text to sound   every caption asks once among all clips; right is its own clip
    sound to text   every clip asks once among all captions; right is any of its own
    text to text    every caption asks once among all other captions; right is any other caption of its clip

With queries="one" one caption a clip asks, drawn by random.Random(0): the released OEA code does so when text to sound is
asked for alone. "all" reproduces its tables best and is the default. Equal captions stay different candidates.

Source: spec/recipes.md F.1 (OEA, AuroLA, WavCaps).
Letters: A sounds, T texts, D dimensions.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ...errors import InputError
from ...training.metrics import Ties, chance_of, first_ranks
from .metrics import Divisor, average_precision
from .results import Section, mean, recalls

Queries = Literal["all", "one"]
# Rows of scores that are held at once in text-to-text retrieval.
BLOCK = 512


def unit(x_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32."""
    x = np.asarray(x_ND, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def asking(owner_T: np.ndarray, queries: Queries) -> np.ndarray:
    """Positions of the texts that ask: all, or one of each owner."""
    if queries == "all":
        return np.arange(len(owner_T))
    if queries != "one":
        raise InputError(f"queries is {queries!r}; wanted 'all' or 'one'")
    draw = random.Random(0)
    return np.array([draw.choice(np.flatnonzero(owner_T == owner).tolist()) for owner in dict.fromkeys(owner_T)])


def text_to_sound(
    text_TD: np.ndarray,
    audio_AD: np.ndarray,
    right_TA: np.ndarray,
    *,
    ids: Sequence[str],
    clusters_T: np.ndarray | None = None,
    ties: Ties = "pessimistic",
    seed: int = 0,
    key: str = "t2a",
    title: str = "text to sound",
) -> Section:
    """R@k and mAP@10 of texts among sounds.

    Args:
        text_TD, audio_AD: vectors; cosines are taken in float32.
        right_TA: bool.
        ids: a name for each query.
        clusters_T: which queries are drawn together for the intervals.
    """
    return ranked_section(
        unit(text_TD) @ unit(audio_AD).T,
        right_TA,
        ids=ids,
        key=key,
        title=title,
        clusters_Q=clusters_T,
        ties=ties,
        seed=seed,
    )


def sound_to_text(
    audio_AD: np.ndarray,
    text_TD: np.ndarray,
    right_AT: np.ndarray,
    *,
    ids: Sequence[str],
    ties: Ties = "pessimistic",
    seed: int = 0,
    key: str = "a2t",
    title: str = "sound to text",
) -> Section:
    """R@k, and mAP@10 in both conventions, of sounds among texts; arguments as `text_to_sound`."""
    return ranked_section(
        unit(audio_AD) @ unit(text_TD).T,
        right_AT,
        ids=ids,
        key=key,
        title=title,
        ties=ties,
        seed=seed,
        divisors=("right", "hits"),
    )


def ranked_section(
    scores_QN: np.ndarray,
    right_QN: np.ndarray,
    *,
    ids: Sequence[str],
    key: str,
    title: str,
    clusters_Q: np.ndarray | None = None,
    ties: Ties = "pessimistic",
    seed: int = 0,
    divisors: tuple[Divisor, ...] = ("right",),
) -> Section:
    """R@k, mAP and mAP@10 of scores, whatever made them."""
    ranks = first_ranks(scores_QN, right_QN, ties=ties)
    measures = recalls(ranks, right_QN, clusters_Q=clusters_Q, seed=seed)
    per_query = {"rank": ranks, "mAP": average_precision(scores_QN, right_QN, ties=ties)}
    measures["mAP"] = mean(per_query["mAP"], clusters_Q=clusters_Q, seed=seed)
    for divisor in divisors:
        name = "mAP@10" if divisor == "right" else "mAP@10 (hits)"
        per_query[name] = average_precision(scores_QN, right_QN, k=10, divide_by=divisor, ties=ties)
        measures[name] = mean(per_query[name], clusters_Q=clusters_Q, seed=seed)
    num_queries, num_candidates = scores_QN.shape
    return Section(key, title, measures, num_queries, num_candidates, ranks=ranks, query_ids=ids, per_query=per_query)


def text_to_text(
    text_TD: np.ndarray,
    owner_T: np.ndarray,
    *,
    ids: Sequence[str],
    queries: Queries = "all",
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> Section:
    """R@k of captions among all other captions.

    Args:
        text_TD: vectors of all captions.
        owner_T: the clip each belongs to; every clip needs two captions.
        ids: a name for each caption.

    Raises:
        InputError: a clip has one caption only.
    """
    text, owner = unit(text_TD), np.asarray(owner_T)
    counts = np.bincount(owner)
    if alone := np.flatnonzero(counts == 1).tolist():
        raise InputError(f"text to text wants two captions a clip; {ids[int(np.argmax(owner == alone[0]))]} has one")
    rows = asking(owner, queries)
    ranks = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        itself = block[:, None] == np.arange(len(owner))
        right = (owner[block, None] == owner) & ~itself
        ranks[start : start + BLOCK] = first_ranks(text[block] @ text.T, right, ties=ties, excluded_QN=itself)
    measures = recalls(ranks, None, clusters_Q=owner[rows], seed=seed)
    for k in (1, 5, 10):
        by_chance = chance_of(counts[owner[rows]] - 1, len(owner) - 1, k)
        measures[f"R@{k}"] = replace(measures[f"R@{k}"], chance=by_chance)
    asked = [ids[i] for i in rows]
    return Section(
        "t2t",
        "text to text",
        measures,
        len(rows),
        len(owner) - 1,
        ranks=ranks,
        query_ids=asked,
        per_query={"rank": ranks},
    )
