"""The few modules that towers and decoder are made of; each holds the tensors it was given and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.rmsnorm import add_rmsnorm, rmsnorm
from .attention import self_attention
from .packed import Segments
from .weights import Weights


def frozen(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """y = x W^T + b.

    In float32 on a CPU torch multiplies by MKL, which takes a slow road on processors that are not Intel's (measured: less
    than half of oneDNN's speed on an AMD EPYC); oneDNN is fast on both and is in every x86 build of torch.
    """
    plain = x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling()
    if ONEDNN and x.dtype == torch.float32 and not plain:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


# Older and other builds of torch lack the operator; it has no gradient, and torch.compile has ways of its own.
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Linear(nn.Module):
    """y = x W^T + b."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.weight = frozen(weight)
        self.bias = None if bias is None else frozen(bias)

    @classmethod
    def load(cls, weights: Weights, name: str, num_in: int, num_out: int, *, bias: bool | None = None) -> "Linear":
        """Read `name.weight` and `name.bias`; `bias=None` takes the bias if the checkpoint has one."""
        has_bias = f"{name}.bias" in weights if bias is None else bias
        return cls(
            weights.take(f"{name}.weight", num_out, num_in),
            weights.take(f"{name}.bias", num_out) if has_bias else None,
        )

    @classmethod
    def load_stacked(cls, weights: Weights, names: list[str], num_in: int, nums_out: list[int]) -> "Linear":
        """Several layers on the same input as one product; a layer without a bias gets zeros if another has one."""
        weight = weights.stack([f"{name}.weight" for name in names], [(n, num_in) for n in nums_out])
        biases = [weights.take_optional(f"{name}.bias", n) for name, n in zip(names, nums_out)]
        if all(b is None for b in biases):
            return cls(weight)
        return cls(weight, torch.cat([weight.new_zeros(n) if b is None else b for b, n in zip(biases, nums_out)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


class LayerNorm(nn.Module):
    """y = (x - mean) / sqrt(var + eps) * w + b over the last dimension."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = frozen(weight), frozen(bias), eps

    @classmethod
    def load(cls, weights: Weights, name: str, width: int, eps: float = 1e-5) -> "LayerNorm":
        return cls(weights.take(f"{name}.weight", width), weights.take(f"{name}.bias", width), eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class PostNormNames:
    """What a checkpoint calls the parts of a PostNormLayer."""

    out: str
    norm1: str
    fc1: str
    fc2: str
    norm2: str


class PostNormLayer(nn.Module):
    """x = norm1(x + attention(x));  x = norm2(x + mlp(x)), every row over its whole sequence."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        names: PostNormNames,
        qkv: Linear,
        *,
        width: int,
        num_heads: int,
        mlp_width: int,
        eps: float,
        activation: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.qkv, self.num_heads, self.activation = qkv, num_heads, activation
        self.out = Linear.load(weights, f"{name}.{names.out}", width, width)
        self.norm1 = LayerNorm.load(weights, f"{name}.{names.norm1}", width, eps)
        self.fc1 = Linear.load(weights, f"{name}.{names.fc1}", width, mlp_width)
        self.fc2 = Linear.load(weights, f"{name}.{names.fc2}", mlp_width, width)
        self.norm2 = LayerNorm.load(weights, f"{name}.{names.norm2}", width, eps)

    def forward(self, x_NW: torch.Tensor, segments: Segments) -> torch.Tensor:
        x_NW = self.norm1(x_NW + self.out(self_attention(self.qkv(x_NW), self.num_heads, segments)))
        return self.norm2(x_NW + self.fc2(self.activation(self.fc1(x_NW))))


class RMSNorm(nn.Module):
    """y = x / rms(x) * w, the quotient in float32 and rounded to x's dtype before the weight, as the checkpoints expect."""

    # Which implementation of the kernels runs; None: the best for the device.
    backend: str | None = None

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = frozen(weight), eps

    @classmethod
    def load(cls, weights: Weights, name: str, width: int, eps: float) -> "RMSNorm":
        return cls(weights.take(f"{name}.weight", width), eps)

    def forward(self, x_NW: torch.Tensor) -> torch.Tensor:
        return rmsnorm(x_NW, self.weight, self.eps, backend=self.backend)

    def after_adding(self, x_NW: torch.Tensor, residual_NW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The norm of the sum, and the sum."""
        return add_rmsnorm(x_NW, residual_NW, self.weight, self.eps, backend=self.backend)
