"""What is trained on states: the head, which is Linear without bias, Dropout, LayerNorm, unit length, in float32; and what
brings states to one scale before a plain layer.

Source: Omni-Embed-Audio (spec/recipes.md B.3); the start from whitened states is own.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ...engine.models.heads import EPS


class Head(nn.Module):
    """y = unit(layer_norm(dropout(W x))).

    Args:
        width: of the states.
        dim: of the vectors.
        dropout: between product and norm, in training.
    """

    def __init__(self, width: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.norm(self.dropout(self.linear(x))), dim=-1)

    @torch.no_grad()
    def whiten(self, states_BW: torch.Tensor) -> None:
        """Start from the principal axes of some states, their mean taken out, each axis near unit variance.

        Where there are fewer axes than outputs, the other rows stay as drawn.
        """
        dim = len(self.linear.weight)
        x = states_BW.double()
        mean = x.mean(0)
        direction = mean / mean.norm()
        x = x - mean
        x = x - (x @ direction)[:, None] * direction
        values, axes = torch.linalg.eigh(x.T @ x / len(x))
        kept = slice(max(0, len(values) - dim), None)
        floor = 0.1 * values[kept].mean()
        weight = (axes[:, kept] / (values[kept].clamp_min(0) + floor).sqrt()).T
        weight = weight - (weight @ direction)[:, None] * direction
        self.linear.weight[: len(weight)] = weight.to(self.linear.weight)


class Standardised(nn.Module):
    """y = (x - mean) / deviation, each coordinate by itself.

    Args:
        states_NW: mean and deviation are theirs.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, states_NW: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", states_NW.mean(0))
        self.register_buffer("scale", states_NW.std(0) + 1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.scale

    def into(self, weight_DW: torch.Tensor) -> torch.Tensor:
        """The weight of one layer that stands for this and a following one, the mean left to its bias."""
        return weight_DW / self.scale


class Whitened(nn.Module):
    """y = axes (x - mean): principal axes of some states, each of unit variance.

    Args:
        states_NW: mean and axes are theirs, found in float64.
        num: of axes, those of the largest variance; fewer where the variance of others is below 1e-7 of the largest.
    """

    mean: torch.Tensor
    axes: torch.Tensor

    def __init__(self, states_NW: torch.Tensor, num: int) -> None:
        super().__init__()
        x = states_NW.double()
        mean = x.mean(0)
        values, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        kept = (values > 1e-7 * values[-1]).nonzero()[-num:, 0]
        self.register_buffer("mean", mean.float())
        self.register_buffer("axes", (axes[:, kept] / values[kept].sqrt()).T.float().contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x - self.mean, self.axes)

    def into(self, weight_DK: torch.Tensor) -> torch.Tensor:
        """As Standardised.into."""
        return weight_DK @ self.axes
