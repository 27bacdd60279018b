"""Distance of the pair beside contrast with the batch.

    loss = w_cos (1 - mean_i a_i . t_i) + w_l1 mean |a - t| + w_con InfoNCE(a, t; tau)

The paper gives the weights; the exact forms, the order of its first two columns and tau are not published.

Source: Robust-ATR, arXiv 2604.23323; spec/recipes.md E.2.
"""

import torch
import torch.nn.functional as F

from ...errors import InputError
from .info_nce import symmetric_info_nce


def cosine_l1_contrastive(
    audio_BD: torch.Tensor,
    text_BD: torch.Tensor,
    tau: float | torch.Tensor = 0.07,
    *,
    weights: tuple[float, float, float] = (0.3, 0.3, 0.4),
    same_BB: torch.Tensor | None = None,
    attended: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """The loss above.

    Args:
        audio_BD, text_BD: [B, D] unit vectors; row i of both is one pair.
        tau: temperature, above 0.
        weights: of cosine, L1 and contrast; none negative.
        same_BB: [B, B] bool; True where two pairs say the same, so that they are no negatives.

        attended: the two sides that cosine and L1 compare; None: those of the contrast.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, tau is not above 0, or a weight is negative.
    """
    if len(weights) != 3 or min(weights) < 0:
        raise InputError(f"cosine_l1_contrastive: weights are {weights}, wanted three, none negative")
    contrast = symmetric_info_nce(audio_BD, text_BD, tau, same_BB)
    near_BD, pair_BD = (audio_BD, text_BD) if attended is None else attended
    cosine = 1 - (near_BD * pair_BD).sum(-1).mean()
    return weights[0] * cosine + weights[1] * F.l1_loss(near_BD, pair_BD) + weights[2] * contrast
