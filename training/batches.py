"""Which clips, captions and crops make up each step. Everything follows from the seed and the step, so resuming is exact.

Source: own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .data import Clip


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How batches are drawn.

    Attributes:
        batch_size: pairs a step.
        max_tokens: longest crop of a clip in audio tokens (25 a second).
        tag_probability: how often a clip's tags stand in for its caption.
        mask_probability: how often a span of a clip's features is blanked.
        max_masked: longest such span, as a part of the clip.
    """

    batch_size: int = 128
    max_tokens: int = 48
    tag_probability: float = 0.15
    mask_probability: float = 0.5
    max_masked: float = 0.2


def steps_per_epoch(num_clips: int, batch_size: int) -> int:
    return max(1, num_clips // batch_size)


def draw_clips(clips: Sequence[Clip], step: int, seed: int, batch_size: int) -> list[Clip]:
    """The clips of a step; in an epoch none comes twice."""
    epoch, place = divmod(step, steps_per_epoch(len(clips), batch_size))
    order = np.random.default_rng([seed, 1, epoch]).permutation(len(clips))
    return [clips[i] for i in order[place * batch_size : (place + 1) * batch_size]]


def draw_captions(clips: Sequence[Clip], rng: np.random.Generator, tag_probability: float) -> list[str]:
    """One of the captions of each clip, or now and then its tags."""
    texts = []
    for clip in clips:
        if clip.tags and rng.random() < tag_probability:
            texts.append(", ".join(clip.tags))
        else:
            texts.append(clip.captions[rng.integers(len(clip.captions))])
    return texts


def fitting(clips: Sequence[Clip], texts: Sequence[str]) -> np.ndarray:
    """[B, B] bool, symmetric: the text of one is a caption, or the tags, of the other."""
    said = [{*clip.captions, ", ".join(clip.tags)} for clip in clips]
    fits = np.array([[text in of_clip for text in texts] for of_clip in said])
    return fits | fits.T


def augment(features: np.ndarray, rng: np.random.Generator, plan: BatchPlan) -> np.ndarray:
    """A random crop of a clip's [tokens, W] features, perhaps with a span of it blanked."""
    spare = len(features) - plan.max_tokens
    if spare > 0:
        start = rng.integers(spare + 1)
        features = features[start : start + plan.max_tokens]
    if rng.random() < plan.mask_probability and len(features) > 4:
        width = int(rng.integers(1, max(2, int(plan.max_masked * len(features)) + 1)))
        start = rng.integers(len(features) - width + 1)
        features = features.copy()
        features[start : start + width] = 0
    return features
