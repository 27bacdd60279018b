"""The head that turns a pooled state into a vector, one for sounds and one for text.

    y = layer_norm(W x)      or, of a file that holds no norm,      y = W x + b

Source: Omni-Embed-Audio (spec/recipes.md B.1 and B.3): no bias in W, LayerNorm eps 1e-5, float32. ALM2Vec (D.2): a plain
projection.
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
    """Linear without bias, then LayerNorm, or a plain Linear; weights and arithmetic in float32."""

    def __init__(
        self, linear: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor] | None, bias: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        self.linear, self.bias = frozen(linear), None if bias is None else frozen(bias)
        self.norm_weight = None if norm is None else frozen(norm[0])
        self.norm_bias = None if norm is None else frozen(norm[1])

    @property
    def dim(self) -> int:
        return self.linear.shape[0]

    def as_pool_head(self, normalize_input: bool) -> PoolHead | None:
        """The form in which the pooling kernel takes it; None: it knows no such head."""
        if self.norm_weight is None or self.norm_bias is None:
            return None
        return PoolHead(self.linear, self.norm_weight, self.norm_bias, EPS, normalize_input)

    def forward(self, x_BW: torch.Tensor) -> torch.Tensor:
        y_BD = F.linear(x_BW, self.linear, self.bias)
        return (
            y_BD if self.norm_weight is None else F.layer_norm(y_BD, (self.dim,), self.norm_weight, self.norm_bias, EPS)
        )


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
        norm_keys = [f"{name}.norm.weight", f"{name}.norm.bias"]
        normed = any(key in tensors for key in norm_keys)
        wanted = [f"{name}.linear.weight", *(norm_keys if normed else [])]
        missing = [key for key in wanted if key not in tensors]
        if missing:
            raise ModelError(f"{files[0]}: {missing} missing; it holds {sorted(tensors)}")
        linear, *rest = (tensors[key].float().to(device) for key in wanted)
        if not normed and f"{name}.linear.bias" in tensors:
            rest = [tensors[f"{name}.linear.bias"].float().to(device)]
        if linear.shape[1:] != (width,) or any(part.shape != linear.shape[:1] for part in rest):
            shapes = [tuple(part.shape) for part in (linear, *rest)]
            raise ModelError(f"{files[0]}: {name} has shapes {shapes}; wanted (d, {width}) and (d,) for the others")
        heads[name] = Head(linear, (rest[0], rest[1])) if normed else Head(linear, None, *rest)
    return heads
