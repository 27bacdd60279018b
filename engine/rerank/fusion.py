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
    for name, part, shape in (("a2t", a2t, (num_audios, num_texts)), ("t2a", t2a, (num_texts, num_audios))):
        if part is not None:
            _check(name, part, *shape)
    fused = weights.ret * similarity_TA.astype(np.float32)
    if compat_released_fusion:
        if audio_of_text is None or len(audio_of_text) != num_texts:
            raise InputError("compat_released_fusion wants audio_of_text, the sound of each of the texts")
        warnings.warn(
            "compat_released_fusion adds audio-to-text scores to the right answers alone: labels leak into the result, "
            "which is good for audits of published figures and for nothing else",
            stacklevel=2,
        )
    for name, part, weight in (("a2t", a2t, weights.a2t), ("t2a", t2a, weights.t2a)):
        if part is None:
            continue
        queries = np.repeat(np.arange(len(part.candidates)), part.candidates.shape[1])
        candidates, scores = part.candidates.ravel(), np.nan_to_num(part.scores.ravel().astype(np.float32))
        texts, audios = (candidates, queries) if name == "a2t" else (queries, candidates)
        if name == "a2t" and compat_released_fusion:
            scores = np.where(np.asarray(audio_of_text)[texts] == audios, scores, 0)
        np.add.at(fused, (texts, audios), np.float32(weight) * scores)
    return fused


def fit_fusion(
    similarity_TA: np.ndarray,
    audio_of_text: Sequence[int] | np.ndarray,
    *,
    a2t: Reranked | None = None,
    t2a: Reranked | None = None,
    split: str,
    grid: Sequence[float] = GRID,
) -> tuple[FusionWeights, float]:
    """Weights that give the best mean of recall@1 in both directions on a validation split.

    Args:
        similarity_TA, a2t, t2a: as `fuse`; the weight of a part that is missing stays 0.
        audio_of_text: [T] the sound each text belongs to.
        split: what the split is called; it is written into the weights.
        grid: values tried for each weight; of equally good ones the smallest wins.

    Returns: the weights, and the mean recall@1 they reach.

    Raises:
        InputError: as `fuse`; the split is a test split by its name; or audio_of_text does not fit.
    """
    if any(word in split.lower() for word in ("test", "eval")):
        raise InputError(f"fusion weights must not be fitted on the split {split!r}; wanted a validation split")
    labels = np.asarray(audio_of_text)
    if labels.shape != (np.asarray(similarity_TA).shape[0],):
        raise InputError(f"audio_of_text must name a sound for each text, got shape {labels.shape}")
    best, best_recall = FusionWeights(0.0, 0.0, fitted_on=split), -1.0
    base = fuse(similarity_TA, best)
    none = np.zeros_like(base)
    ones = FusionWeights(1.0, 1.0)
    of_a2t, of_t2a = fuse(none, ones, a2t=a2t), fuse(none, ones, t2a=t2a)
    for alpha_a2t in grid if a2t is not None else (0.0,):
        for alpha_t2a in grid if t2a is not None else (0.0,):
            fused = base + np.float32(alpha_a2t) * of_a2t + np.float32(alpha_t2a) * of_t2a
            recall = mean_recall_at_1(fused, labels)
            if recall > best_recall:
                best, best_recall = FusionWeights(alpha_a2t, alpha_t2a, fitted_on=split), recall
    return best, best_recall


def mean_recall_at_1(scores_TA: np.ndarray, audio_of_text: np.ndarray) -> float:
    """The mean over both directions of how often the first answer is right; ties go to the lower position."""
    t2a = (scores_TA.argmax(1) == audio_of_text).mean()
    a2t = (audio_of_text[scores_TA.argmax(0)] == np.arange(scores_TA.shape[1])).mean()
    return float(t2a + a2t) / 2


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
