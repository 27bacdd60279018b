"""peft's LoRA layers, run as one product with the merged weight.

    y = x W'^T,                  W' = W + s B A     (merged in float32, rounded to W's type, once an optimizer step)
    dx = dy W',   dB = s dy^T (x A^T),   dA = s (dy B)^T x

The forward pass is that of the merged model that will be deployed, and costs what the base model costs; the base weight
gets no gradient. Parameters, names and files stay peft's. No LoRA dropout.

Source: own; LoRA (arXiv 2106.09685) equation 3, with the straight-through gradient for the rounding of W'.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

ADAPTER = "default"


class _MergedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, merged: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, merged, a, b)
        ctx.scale = scale
        return F.linear(x, merged)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, merged, a, b = ctx.saved_tensors
        dy = grads[0]
        flat_dy, flat_x = dy.flatten(0, -2), x.flatten(0, -2)
        dx = dy @ merged if ctx.needs_input_grad[0] else None
        db = ctx.scale * (flat_dy.T @ (flat_x @ a.to(x.dtype).T)).to(b.dtype)
        da = ctx.scale * ((flat_dy @ b.to(x.dtype)).T @ flat_x).to(a.dtype)
        return dx, None, da, db, None


def lora_layers(model: nn.Module) -> list[LoraLinear]:
    return [module for module in model.modules() if isinstance(module, LoraLinear)]


def merge(model: nn.Module) -> None:
    """Compute W' of every LoRA layer anew; call it after each optimizer step."""
    with torch.no_grad():
        for layer in lora_layers(model):
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            base = layer.base_layer.weight
            layer.harken_merged = (base.float() + layer.scaling[ADAPTER] * (b @ a)).to(base.dtype)


def use_merged(model: nn.Module) -> None:
    """Let every LoRA layer of `model` run on its merged weight."""
    for layer in lora_layers(model):
        layer.forward = partial(_forward, layer)
    merge(model)


def _forward(layer: LoraLinear, x: torch.Tensor) -> torch.Tensor:
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    return _MergedLinear.apply(x, layer.harken_merged, a, b, layer.scaling[ADAPTER])
