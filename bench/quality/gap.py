"""The gap between the two modalities: maximum mean discrepancy, distance of the centres, and a plane to look at.

MMD is taken over 100 pairs drawn by seed, as AuroLA does; its kernel's width is not published, here it is the median
distance. The plane is that of the first two principal components of both sets together, or UMAP's where umap-learn is
installed and asked for.

Source: spec/recipes.md F.1 (AuroLA figure 5).
"""

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .metrics import mmd
from .results import Measure, Section
from .retrieval import unit

NUM_PAIRS = 100


@dataclass(frozen=True, slots=True)
class Projection:
    """Points of the plane: row i of both is one pair."""

    audio_N2: np.ndarray
    text_N2: np.ndarray
    method: str


def modality_gap(audio_ND: np.ndarray, text_ND: np.ndarray, *, seed: int = 0) -> Section:
    """MMD, distance between the centres, mean cosine of pairs; row i of both is one pair."""
    audio, text = _drawn(audio_ND, text_ND, seed)
    measures = {
        "MMD": mmd(audio, text),
        "centre distance": float(np.linalg.norm(audio.mean(0) - text.mean(0))),
        "cosine of pairs": float((audio * text).sum(1).mean()),
    }
    title = f"modality gap over {len(audio)} pairs"
    return Section("gap", title, {k: Measure(v, is_share=False) for k, v in measures.items()}, len(audio), len(audio))


def project(audio_ND: np.ndarray, text_ND: np.ndarray, *, seed: int = 0, method: str = "pca") -> Projection:
    """The pairs of `modality_gap` in a plane.

    Args:
        method: "pca" or "umap".

    Raises:
        InputError: another method, or umap-learn is not installed.
    """
    audio, text = _drawn(audio_ND, text_ND, seed)
    both = np.concatenate([audio, text])
    if method == "pca":
        centred = both - both.mean(0)
        plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    elif method == "umap":
        try:
            from umap import UMAP
        except ImportError:
            raise InputError("the UMAP projection needs umap-learn: pip install umap-learn") from None
        plane = UMAP(random_state=seed, metric="cosine").fit_transform(both)
    else:
        raise InputError(f"projection is {method!r}; wanted 'pca' or 'umap'")
    return Projection(plane[: len(audio)], plane[len(audio) :], method)


def _drawn(audio_ND: np.ndarray, text_ND: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    count = min(NUM_PAIRS, len(audio_ND))
    rows = np.random.default_rng(seed).choice(len(audio_ND), count, replace=False)
    return unit(audio_ND[rows]), unit(text_ND[rows])
