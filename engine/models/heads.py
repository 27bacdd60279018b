"""The head that turns a pooled state into a vector, one for sounds and one for text.

    y = layer_norm(W x)

Source: Omni-Embed-Audio (spec/recipes.md B.1 and B.3): no bias in W, LayerNorm eps 1e-5, float32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from ...errors import ModelError
from ...kernels.pool import PoolHead
from .layers import frozen

FILE = "heads.safetensors"
EPS = 1e-5


class Head(nn.Module):
    """Linear without bias, then LayerNorm; weights and arithmetic in float32."""

    def __init__(self, linear: torch.Tensor, norm_weight: torch.Tensor, norm_bias: torch.Tensor) -> None:
        super().__init__()
        self.linear, self.norm_weight, self.norm_bias = frozen(linear), frozen(norm_weight), frozen(norm_bias)

    @property
    def dim(self) -> int:
        return self.linear.shape[0]

    def as_pool_head(self, normalize_input: bool) -> PoolHead:
        """The form in which the pooling kernel takes it."""
        return PoolHead(self.linear, self.norm_weight, self.norm_bias, EPS, normalize_input)

    def forward(self, x_BW: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(F.linear(x_BW, self.linear), (self.dim,), self.norm_weight, self.norm_bias, EPS)


def load_heads(folders: list[Path], names: list[str], width: int, device: torch.device | str) -> dict[str, Head]:
    """Read the heads of `names` from the first folder that holds a heads file.

    Raises:
        ModelError: no folder has the file, a head is missing, or its width is not the model's.
    """
    files = [folder / FILE for folder in folders if (folder / FILE).is_file()]
    if not files:
        raise ModelError(f"the recipe wants the heads {names}, but there is no {FILE} in {[str(f) for f in folders]}")
    tensors = load_file(files[0])
    heads = {}
    for name in names:
        keys = [f"{name}.linear.weight", f"{name}.norm.weight", f"{name}.norm.bias"]
        missing = [key for key in keys if key not in tensors]
        if missing:
            raise ModelError(f"{files[0]}: {missing} missing; it holds {sorted(tensors)}")
        linear, weight, bias = (tensors[key].float().to(device) for key in keys)
        if linear.shape[1] != width or weight.shape != (linear.shape[0],) or bias.shape != (linear.shape[0],):
            raise ModelError(
                f"{files[0]}: {name} has shapes {tuple(linear.shape)}, {tuple(weight.shape)}, {tuple(bias.shape)}; "
                f"wanted (d, {width}), (d,), (d,)"
            )
        heads[name] = Head(linear, weight, bias)
    return heads
