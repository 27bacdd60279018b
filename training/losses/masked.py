"""Both directions with the negatives that look right left out, and a temperature that is learned.

    loss = CE(q -> d) + CE(d -> q)      over S_ij = cos_ij / tau; j != i is left out where cos_ij > max_similarity

The two directions are added, not halved. The mask's threshold, and tau's start and bound, are not published: the threshold is
an option, tau starts at 0.07 and stays at or above 0.01 as CLIP's does.

Source: ALM2Vec, arXiv 2606.30682; spec/recipes.md D.3.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import InputError
from .scores import hidden, off_diagonal, scores


class Temperature(nn.Module):
    """tau = exp(-x) of a learned x, never below `min_tau`."""

    def __init__(self, tau: float = 0.07, min_tau: float = 0.01) -> None:
        super().__init__()
        if not tau >= min_tau > 0:
            raise InputError(f"tau is {tau} and min_tau {min_tau}, wanted tau >= min_tau > 0")
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))
        self.max_log_scale = -math.log(min_tau)

    def forward(self) -> torch.Tensor:
        return torch.exp(-self.log_scale.clamp(max=self.max_log_scale))


def masked_bidirectional(
    query_BD: torch.Tensor,
    document_BD: torch.Tensor,
    tau: float | torch.Tensor,
    *,
    max_similarity: float = 0.9,
    same_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss above.

    Args:
        query_BD, document_BD: [B, D] unit vectors; row i of both is one pair.
        tau: temperature, above 0; a tensor gets its gradient.
        max_similarity: a negative whose cosine to the query lies above this is none.
        same_BB: [B, B] bool; further pairs that are no negatives.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    scores_BB = scores("masked_bidirectional", query_BD, document_BD, tau)
    too_near_BB = (query_BD.detach() @ document_BD.detach().T) > max_similarity
    mask_BB = off_diagonal(too_near_BB, scores_BB) | off_diagonal(same_BB, scores_BB)
    scores_BB = hidden(scores_BB, mask_BB)
    target_B = torch.arange(len(scores_BB), device=scores_BB.device)
    return F.cross_entropy(scores_BB, target_B) + F.cross_entropy(scores_BB.T, target_B)
