"""Retrieval and reranker scores made into one.

    s*[t, a] = w_ret s[t, a] + w_a2t p(a, t) + w_t2a p(t, a)

A p is there only for the candidates that were scored, a query's top K; all other cells keep w_ret s. The weights are fitted on
a validation split, never on the one that is reported.

`compat_released_fusion=True` does what AuroLA's released script does instead, for audits: its audio-to-text pass adds p only
where a candidate is the query's own text, so that labels leak into the scores.

Source: AuroLA equation 11; spec/recipes.md C.7, spec/peers.md 0.4 (the leak).
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError

# Tried for each weight by `fit_fusion`.
GRID = tuple(i / 10 for i in range(41))


@dataclass(frozen=True, slots=True)
class FusionWeights:
    """The weights of equation 11, and the split they were fitted on."""

    a2t: float
    t2a: float
    ret: float = 1.0
    fitted_on: str = ""

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "FusionWeights":
        """Read what `save` wrote.

        Raises:
            InputError: the file is not that.
        """
        try:
            return cls(**json.loads(Path(path).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as fusion weights: {error}") from None


@dataclass(frozen=True, slots=True)
class Reranked:
    """P(Yes) of each query's candidates.

    Args:
        candidates: [queries, K] int, the columns of what was ranked: texts for sound queries, sounds for text queries.
        scores: [queries, K] float, NaN where a candidate could not be scored.
    """

    candidates: np.ndarray
    scores: np.ndarray


def fuse(
    similarity_TA: np.ndarray,
    weights: FusionWeights,
    *,
    a2t: Reranked | None = None,
    t2a: Reranked | None = None,
    compat_released_fusion: bool = False,
    audio_of_text: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Fused scores [T, A] float32 of T texts and A sounds.

    Args:
        similarity_TA: retrieval scores.
        weights: of the three terms.
        a2t: [A, K] texts of every sound.
        t2a: [T, K] sounds of every text.
        compat_released_fusion: reproduce the released script, which needs the labels and gives them away.
        audio_of_text: [T] the sound each text belongs to; only for `compat_released_fusion`.

    Raises:
        InputError: shapes that do not fit, candidates out of range, or a compat call without labels.
    """
    similarity_TA = np.asarray(similarity_TA)
    if similarity_TA.ndim != 2:
        raise InputError(f"similarity must be [texts, sounds], got shape {similarity_TA.shape}")
    num_texts, num_audios = similarity_TA.shape
    terms = {name: spread(part, name, similarity_TA.shape) for name, part in (("a2t", a2t), ("t2a", t2a)) if part}
    if compat_released_fusion:
        if audio_of_text is None or len(audio_of_text) != num_texts:
            raise InputError("compat_released_fusion wants audio_of_text, the sound of each of the texts")
        warnings.warn(
            "compat_released_fusion adds audio-to-text scores to the right answers alone: labels leak into the result, "
            "which is good for audits of published figures and for nothing else",
            stacklevel=2,
        )
        if "a2t" in terms:
            terms["a2t"] = np.where(np.asarray(audio_of_text)[:, None] == np.arange(num_audios), terms["a2t"], 0)
    fused = weights.ret * similarity_TA.astype(np.float32)
    for name, term_TA in terms.items():
        fused += np.float32(getattr(weights, name)) * term_TA
    return fused


def spread(part: Reranked, direction: str, shape: tuple[int, int]) -> np.ndarray:
    """P(Yes) [T, A] float32 at the cells that were scored, 0 elsewhere.

    Args:
        part: a query's candidates a row.
        direction: "a2t": its queries are sounds; "t2a": they are texts.
        shape: T, A.
    """
    num_queries, num_candidates = shape if direction == "t2a" else shape[::-1]
    _check(direction, part, num_queries, num_candidates)
    spread_QC = np.zeros((num_queries, num_candidates), np.float32)
    np.put_along_axis(spread_QC, part.candidates, np.nan_to_num(part.scores).astype(np.float32), 1)
    return spread_QC if direction == "t2a" else spread_QC.T


def fit_fusion(
    similarity_TA: np.ndarray,
    relevant_TA: np.ndarray,
    *,
    a2t_TA: np.ndarray | None = None,
    t2a_TA: np.ndarray | None = None,
    split: str,
    grid: Sequence[float] = GRID,
) -> tuple[FusionWeights, float]:
    """Weights that give the best recall@1 on a validation split, its mean over the directions that were reranked.

    Args:
        similarity_TA: retrieval scores; -inf at cells that were not retrieved.
        relevant_TA: bool, which sound answers which text.
        a2t_TA, t2a_TA: P(Yes) of each direction as `spread` gives it; the weight of one that is missing stays 0.
        split: what the split is called; it is written into the weights.
        grid: values tried for each weight; of equally good ones the smallest wins.

    Returns: the weights, and the recall@1 they reach.

    Raises:
        InputError: shapes that differ, nothing reranked, or a split that is a test split by its name.
    """
    if any(word in split.lower() for word in ("test", "eval")):
        raise InputError(f"fusion weights must not be fitted on the split {split!r}; wanted a validation split")
    given = {name: term for name, term in (("a2t", a2t_TA), ("t2a", t2a_TA)) if term is not None}
    shapes = {np.shape(x) for x in (similarity_TA, relevant_TA, *given.values())}
    if len(shapes) > 1 or not given:
        raise InputError(f"wanted scores, labels and one or two reranked directions of one shape, got {sorted(shapes)}")
    best, best_recall = FusionWeights(0.0, 0.0, fitted_on=split), -1.0
    for a2t in grid if "a2t" in given else (0.0,):
        for t2a in grid if "t2a" in given else (0.0,):
            weights = FusionWeights(a2t, t2a, fitted_on=split)
            fused: np.ndarray = np.asarray(similarity_TA, np.float32)
            for name, term in given.items():
                fused = fused + np.float32(getattr(weights, name)) * term
            recall = float(np.mean([recall_at_1(fused, relevant_TA, name) for name in given]))
            if recall > best_recall:
                best, best_recall = weights, recall
    return best, best_recall


def recall_at_1(scores_TA: np.ndarray, relevant_TA: np.ndarray, direction: str) -> float:
    """How often the first answer is right, over the queries that were answered at all; ties go to the lower position."""
    scores, relevant = (scores_TA, relevant_TA) if direction == "t2a" else (scores_TA.T, relevant_TA.T)
    answered = np.isfinite(scores).any(1)
    first = scores[answered].argmax(1)
    return float(relevant[answered][np.arange(len(first)), first].mean())


def _check(name: str, part: Reranked, num_queries: int, num_candidates: int) -> None:
    shape = part.candidates.shape
    if len(shape) != 2 or shape[0] != num_queries or part.scores.shape != shape:
        raise InputError(
            f"{name}: candidates and scores must both be [{num_queries}, K], got {shape} and {part.scores.shape}"
        )
    if part.candidates.size and not 0 <= part.candidates.min() <= part.candidates.max() < num_candidates:
        raise InputError(f"{name}: candidates must lie in 0..{num_candidates - 1}")
    if len(part.candidates) and any(len(set(row)) < len(row) for row in part.candidates.tolist()):
        raise InputError(f"{name}: a query has the same candidate twice")
