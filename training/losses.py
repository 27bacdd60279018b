"""Contrastive losses over a batch of pairs.

Source: InfoNCE, van den Oord et al. 2018, equation 4, in both directions as in CLIP (Radford et al. 2021, figure 3).
"""

import torch
import torch.nn.functional as F

from ..errors import InputError


def symmetric_info_nce(
    audio_BD: torch.Tensor, text_BD: torch.Tensor, tau: float, same_BB: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross entropy of each pair against the batch, both ways.

        S_ij = a_i . t_j / tau,      S_ij = -inf where i and j say the same and i != j
        loss = -1/2B sum_i [ log softmax_j(S_ij)[i] + log softmax_j(S_ji)[i] ]

    Args:
        audio_BD, text_BD: [B, D] unit vectors; row i of both is one pair.
        tau: temperature, above 0.
        same_BB: [B, B] bool, symmetric; True where the captions of i and j fit each other, so that they are no negatives.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    if audio_BD.dim() != 2 or audio_BD.shape != text_BD.shape:
        raise InputError(
            f"symmetric_info_nce wants two [B, D] of one shape, got {tuple(audio_BD.shape)}, {tuple(text_BD.shape)}"
        )
    if not tau > 0:
        raise InputError(f"symmetric_info_nce: tau is {tau}, wanted above 0")
    scores_BB = audio_BD @ text_BD.T / tau
    target_B = torch.arange(len(scores_BB), device=scores_BB.device)
    if same_BB is not None:
        off_diagonal = ~torch.eye(len(scores_BB), dtype=torch.bool, device=scores_BB.device)
        scores_BB = scores_BB.masked_fill(same_BB & off_diagonal, float("-inf"))
    return 0.5 * (F.cross_entropy(scores_BB, target_B) + F.cross_entropy(scores_BB.T, target_B))
