"""Caption-then-text baselines: sounds are captioned once, then text searches text.

    lexical    Jaccard overlap of the words of query and caption
    bm25       BM25 over the captions (bm25s, k1 1.5, b 0.75), queries and captions lower-cased, stop words kept
    semantic   cosine of the text vectors of query and caption

The captions come from a file of {"id": ..., "caption": ...} lines, made by any captioner, or from a list of captions of
which each sound gets the one that the evaluated model finds nearest (`nearest_captions`).

Source: own; they stand for the cascaded systems the papers compare with.
Letters: T queries, A sounds, K known captions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...training.bm25 import bm25, words
from ...training.data.record import RecordError
from ...training.metrics import Ties
from .captioned import Captioned
from .lines import lines, naming
from .results import Section
from .retrieval import Queries, asking, ranked_section, unit


def lexical(queries: Sequence[str], captions: Sequence[str]) -> np.ndarray:
    """Jaccard overlaps [T, A] float32."""
    ours, theirs = [set(words(q)) for q in queries], [set(words(c)) for c in captions]
    scores = [[len(q & c) / max(len(q | c), 1) for c in theirs] for q in ours]
    return np.array(scores, np.float32)


def nearest_captions(audio_AD: np.ndarray, known_KD: np.ndarray, known: Sequence[str]) -> list[str]:
    """For each sound the known caption with the nearest vector."""
    best = (unit(audio_AD) @ unit(known_KD).T).argmax(1)
    return [known[i] for i in best]


def read_known_captions(path: Path) -> list[str]:
    """The different lines of a text file.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    try:
        known = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of captions: {error}") from None
    if not (captions := list(dict.fromkeys(filter(None, known)))):
        raise InputError(f"{path}: holds no caption; wanted one a line")
    return captions


def read_captions(path: Path, ids: Sequence[str]) -> list[str]:
    """One caption for each id, in their order.

    Raises:
        InputError: names file, row and column; or the first id that has no caption.
    """
    captions: dict[str, str] = {}
    for record in lines(path):
        with naming(record):
            name = record.text("id")
            if name in captions:
                raise RecordError("id", f"{name!r} is there twice")
            captions[name] = record.text("caption")
    if without := [name for name in ids if name not in captions]:
        raise InputError(f"{path}: {len(without)} of {len(ids)} clips have no caption; the first is {without[0]!r}")
    return [captions[name] for name in ids]


def cascade_sections(
    asked: Captioned,
    text_TD: np.ndarray,
    generated: Sequence[str],
    generated_AD: np.ndarray,
    *,
    queries: Queries = "all",
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> list[Section]:
    """Text to sound where each sound is known by its generated caption alone, by every rule and all three baselines.

    Args:
        asked: the texts and what answers them; `text_TD` their vectors.
        generated: a caption for each sound; `generated_AD` their vectors.
    """
    rows = asking(asked.clusters_T, queries)
    texts = [asked.texts[i] for i in rows]
    scored = {
        "lexical": lexical(texts, generated),
        "BM25": bm25(texts, generated),
        "semantic": unit(text_TD[rows]) @ unit(generated_AD).T,
    }
    return [
        ranked_section(
            scores,
            right[rows],
            ids=[asked.text_ids[i] for i in rows],
            clusters_Q=asked.clusters_T[rows],
            ties=ties,
            seed=seed,
            key=f"caption-then-text {name}" + (f" {rule}" if rule else ""),
            title=f"caption then text, {name}" + (f", {rule}" if rule else ""),
        )
        for rule, right in asked.rights.items()
        for name, scores in scored.items()
    ]
