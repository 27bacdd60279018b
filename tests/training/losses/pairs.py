"""Pairs to try losses on."""

import torch
import torch.nn.functional as F


def pairs(num: int = 6, width: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two [num, width] of unit vectors in float64."""
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, num, width, dtype=torch.float64, generator=generator)
    return F.normalize(left, dim=-1), F.normalize(right, dim=-1)


def mask_of(num: int, *pairs_: tuple[int, int]) -> torch.Tensor:
    """[num, num] bool, symmetric, with its diagonal."""
    mask = torch.eye(num, dtype=torch.bool)
    for i, j in pairs_:
        mask[i, j] = mask[j, i] = True
    return mask
