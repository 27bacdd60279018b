"""The matrix of scores under every contrastive loss, and its masks.

    S_ij = a_i . t_j / tau

Masked entries become a large finite number below all others: a row without a negative then has gradients that are zero,
where -inf would give NaN.

Source: own.
"""

import torch

from ...errors import InputError


def scores(name: str, left_BD: torch.Tensor, right_BD: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    """[B, B] scores of two sides; `name` is the loss that asks.

    Raises:
        InputError: shapes differ, or tau is not above 0.
    """
    if left_BD.dim() != 2 or left_BD.shape != right_BD.shape or not len(left_BD):
        raise InputError(f"{name} wants two [B, D] of one shape, got {tuple(left_BD.shape)}, {tuple(right_BD.shape)}")
    value = tau.item() if isinstance(tau, torch.Tensor) else tau
    if not value > 0:
        raise InputError(f"{name}: tau is {value}, wanted above 0")
    return left_BD @ right_BD.T / tau


def hidden(scores_BB: torch.Tensor, mask_BB: torch.Tensor) -> torch.Tensor:
    """The scores with masked entries out of every sum of exponentials."""
    return scores_BB.masked_fill(mask_BB, torch.finfo(scores_BB.dtype).min / 4)


def off_diagonal(mask_BB: torch.Tensor | None, like_BB: torch.Tensor) -> torch.Tensor:
    """[B, B] bool: the mask without its diagonal; nothing where there is no mask.

    Raises:
        InputError: the mask is not [B, B].
    """
    if mask_BB is None:
        return torch.zeros_like(like_BB, dtype=torch.bool)
    if mask_BB.shape != like_BB.shape:
        raise InputError(f"a mask of pairs has shape {tuple(mask_BB.shape)}, wanted {tuple(like_BB.shape)}")
    mask_BB = mask_BB.to(like_BB.device, torch.bool)
    return mask_BB & ~torch.eye(len(like_BB), dtype=torch.bool, device=like_BB.device)
