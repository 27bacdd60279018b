"""InfoNCE: cross entropy of each pair against the batch.

    one direction   loss = -1/B sum_i log softmax_j(S_ij)[i]
    symmetric       the mean of both directions

Source: van den Oord et al. 2018, equation 4; both directions as in CLIP (Radford et al. 2021, figure 3) and OEA
(spec/recipes.md B.4); one direction as AuroLA's text stage (C.4).
"""

import torch
import torch.nn.functional as F

from .scores import hidden, off_diagonal, scores


def one_direction_info_nce(
    left_BD: torch.Tensor, right_BD: torch.Tensor, tau: float | torch.Tensor, same_BB: torch.Tensor | None = None
) -> torch.Tensor:
    """Each left one against all right ones.

    Args:
        left_BD, right_BD: [B, D] unit vectors; row i of both is one pair.
        tau: temperature, above 0.
        same_BB: [B, B] bool; True where right j also fits left i, so that it is no negative.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    scores_BB = scores("one_direction_info_nce", left_BD, right_BD, tau)
    return _diagonal_entropy(hidden(scores_BB, off_diagonal(same_BB, scores_BB)))


def symmetric_info_nce(
    audio_BD: torch.Tensor, text_BD: torch.Tensor, tau: float | torch.Tensor, same_BB: torch.Tensor | None = None
) -> torch.Tensor:
    """Both directions, halved.

    Args:
        audio_BD, text_BD: [B, D] unit vectors; row i of both is one pair.
        tau: temperature, above 0.
        same_BB: [B, B] bool; True where the text of j also fits the sound of i, so that it is no negative.

    Returns: a scalar in the inputs' dtype.
    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    scores_BB = scores("symmetric_info_nce", audio_BD, text_BD, tau)
    scores_BB = hidden(scores_BB, off_diagonal(same_BB, scores_BB))
    return 0.5 * (_diagonal_entropy(scores_BB) + _diagonal_entropy(scores_BB.T))


def _diagonal_entropy(scores_BB: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(scores_BB, torch.arange(len(scores_BB), device=scores_BB.device))
