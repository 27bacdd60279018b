"""Linear layers with 8-bit weights and activations: half the memory, twice the product rate where the chip has it.

    y = s_x s_w (q(x) q(w)^T) + b,    q(t) = round_e4m3(t / s),    s = max |row| / 448

Every row of the weight and every row of the activation has a scale of its own, so a row's result does not depend on the
other rows of its batch. Norms, embeddings, attention and the pooled head keep the model's dtype.

Source: own; the format is OCP FP8 E4M3, the product torch._scaled_mm with row-wise scales.
Letters: N rows, I inputs, O outputs.
"""

import torch
from torch import nn

from ...errors import ModelError
from .layers import Linear, frozen

LARGEST = 448.0
# torch._scaled_mm wants both widths to be multiples of this.
ALIGN = 16


class Fp8Linear(nn.Module):
    """A Linear with its weight in float8_e4m3 and a float32 scale a row."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        weight_OI, scale_O1 = quantize_rows(linear.weight)
        self.weight, self.scale = frozen(weight_OI), frozen(scale_O1.T.contiguous())
        self.bias = linear.bias

    def forward(self, x_NI: torch.Tensor) -> torch.Tensor:
        rows_NI = x_NI.flatten(0, -2)
        quantized_NI, scale_N1 = quantize_rows(rows_NI)
        y_NO = torch._scaled_mm(
            quantized_NI, self.weight.T, scale_a=scale_N1, scale_b=self.scale, out_dtype=torch.bfloat16
        )
        y_NO = y_NO.to(x_NI.dtype)
        return (y_NO if self.bias is None else y_NO + self.bias).unflatten(0, x_NI.shape[:-1])


def quantize_rows(x_NI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x as float8_e4m3 [N, I] and its float32 scales [N, 1]; a row of zeros keeps the scale of the smallest number."""
    scale_N1 = x_NI.abs().amax(1, keepdim=True).float().clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
    return (x_NI.float() / scale_N1).to(torch.float8_e4m3fn), scale_N1


def quantize_linears(model: nn.Module) -> int:
    """Replace the linear layers of `model`'s stacks of layers by 8-bit ones, in place; gives how many.

    Raises:
        ModelError: the device cannot multiply in float8 (CUDA before compute capability 8.9).
    """
    device = next(model.parameters()).device
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        raise ModelError(
            f"dtype float8 wants compute capability 8.9 or newer, {torch.cuda.get_device_name(device)} has less"
        )
    num_replaced = 0
    for stack in [m for m in model.modules() if isinstance(m, nn.ModuleList)]:
        for layer in stack:
            for name, child in list(layer.named_children()):
                if isinstance(child, Linear) and not any(n % ALIGN for n in child.weight.shape):
                    setattr(layer, name, Fp8Linear(child))
                    num_replaced += 1
    return num_replaced
