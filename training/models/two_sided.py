"""Two plain sides, one of what is told of a sound and one of what is told of a text, that meet in a cosine.

    a = unit(f(x)),  t = unit(g(y)),  loss = symmetric InfoNCE of a . t / tau

Half a minute of training on what a frozen model gives; the teacher of a reranker (teacher.py) and its product (product.py).

Source: CLAP (Elizalde et al. 2022, arXiv 2206.04769), its encoders frozen and outside.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..data import Row
from ..draw import ITEM, draw_rows, draw_text, fitting, rng_of
from ..losses import symmetric_info_nce

BATCH, LR = 512, 1e-3


class TwoSided(nn.Module):
    """The two sides.

    Args:
        hear: [B, F] to [B, D].
        read: [B, G] to [B, D].
    """

    def __init__(self, hear: nn.Module, read: nn.Module) -> None:
        super().__init__()
        self.hear, self.read = hear, read

    def forward(self, sounds_BF: torch.Tensor, texts_BG: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors [B, D] of both."""
        return F.normalize(self.hear(sounds_BF), dim=-1), F.normalize(self.read(texts_BG), dim=-1)


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """What the sides learn from.

    Args:
        rows: N, with captions.
        sounds_NF: of each row's sound.
        place: of every text of the rows in texts_MG.
    """

    rows: Sequence[Row]
    sounds_NF: torch.Tensor
    place: Mapping[str, int]
    texts_MG: torch.Tensor


def learn(
    model: TwoSided,
    told: Told,
    chosen: Sequence[int],
    tau: float,
    kinds: Mapping[str, float],
    *,
    seed: int,
    purpose: int,
    steps: int,
    advance: Callable[[int], None],
) -> None:
    """Train the sides on the chosen rows, and leave them as they are used.

    Args:
        tau: temperature.
        kinds: how often each kind of text is taken.
        purpose: a number of its own for each model that draws from the same seed.
        advance: is told of every step.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    for step in range(steps):
        drawn = draw_rows(chosen, step, seed, min(BATCH, len(chosen)))
        picked, rng = [told.rows[i] for i in drawn], rng_of(seed, ITEM, purpose, step)
        words = [draw_text(row, rng, kinds)[1] for row in picked]
        audio, text = model(told.sounds_NF[drawn], told.texts_MG[[told.place[word] for word in words]])
        loss = symmetric_info_nce(audio, text, tau, torch.from_numpy(fitting(picked, words)))
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        advance(1)
    model.eval()
