"""LoRA by peft: where it sits, how it runs, how it is written.

Without dropout each layer runs as one product with the merged weight:

    y = x W'^T,                  W' = W + s B A     (merged in float32, rounded to W's type, once an optimizer step)
    dx = dy W',   dB = s dy^T (x A^T),   dA = s (dy B)^T x

The forward pass is that of the merged model that will be deployed, and costs what the base model costs; the base weight
gets no gradient. With dropout the layers run as peft runs them. Parameters, names and files are peft's.

Source: own; LoRA (arXiv 2106.09685) equation 3, with the straight-through gradient for the rounding of W'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from ..engine.models.heads import FILE as HEADS_FILE
from ..errors import BackendError, InputError, ModelError
from .models.backbone import Backbone

try:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from peft.tuners.lora import Linear as LoraLinear
except ImportError as error:
    raise BackendError(f"training wants peft: {error}; pip install 'harken[train]'") from None

ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """What is trained beside a frozen base."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    # Of backbone.Part: where LoRA sits.
    parts: tuple[str, ...] = ("decoder",)
    # First of the decoder's layers that it sits on.
    from_layer: int = 0
    # Train the projector's own weights.
    whole_projector: bool = False
    head_dim: int = 512
    head_dropout: float = 0.0
    # Of the saved tensors: "float32", "float16" or "bfloat16".
    saved_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.parts:
            raise InputError(
                f"lora: rank is {self.rank} and parts {list(self.parts)}; wanted 1 or more, and one part or more"
            )
        if self.saved_dtype not in ("float32", "float16", "bfloat16"):
            raise InputError(f"lora: saved_dtype is {self.saved_dtype!r}, wanted float32, float16 or bfloat16")


def attach(backbone: Backbone, settings: LoraSettings) -> Any:
    """Wrap the backbone's model by peft; what is trained becomes float32.

    Raises:
        ModelError: the backbone has no such part.
    """
    unknown = [part for part in settings.parts if part not in backbone.parts]
    if unknown:
        raise ModelError(f"{backbone.folder}: lora.parts has {unknown}; this model has {sorted(backbone.parts)}")
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=target_modules(backbone, settings),
        modules_to_save=backbone.projector_names if settings.whole_projector else None,
    )
    peft = get_peft_model(backbone.model, config)
    for parameter in peft.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    peft.harken_saved_dtype = getattr(torch, settings.saved_dtype)
    if settings.dropout == 0:
        _use_merged(peft)
    return peft


def target_modules(backbone: Backbone, settings: LoraSettings) -> str:
    """Regular expression of the names of the linear layers that LoRA is put on."""
    patterns = {part: backbone.parts[part] for part in settings.parts}
    if settings.from_layer:
        numbers = "|".join(map(str, range(settings.from_layer, len(backbone.decoder.layers))))
        for part in (part for part in patterns if part.startswith("decoder")):
            patterns[part] = patterns[part].replace(r"\.layers\.\d+\.", rf"\.layers\.({numbers})\.")
    return "|".join(f"(?:{pattern})" for pattern in patterns.values())


def save(peft: Any, folder: str | Path, recipe: str, heads: Mapping[str, nn.Module]) -> None:
    """Write `adapter_config.json`, `adapter_model.safetensors` and, where there are heads, `heads.safetensors`."""
    folder, dtype = Path(folder), peft.harken_saved_dtype
    peft.peft_config[ADAPTER].base_model_name_or_path = recipe
    peft.save_pretrained(folder, save_embedding_layers=False)
    # peft's template of a model card, with nothing filled in.
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_model.safetensors"
    save_file({k: v.to(dtype) for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    tensors = {f"{name}.{k}": v.to(dtype).contiguous() for name, h in heads.items() for k, v in h.state_dict().items()}
    if tensors:
        save_file(tensors, folder / HEADS_FILE, metadata={"format": "pt"})


def load(peft: Any, folder: str | Path, heads: Mapping[str, nn.Module]) -> None:
    """Take over a saved adapter, and heads where the folder has them.

    Raises:
        ModelError: the adapter is not one of this model and these settings.
    """
    folder = Path(folder)
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: holds no adapter that can be read: {error}") from None
    ours = {k: v.shape for k, v in _adapter_state(peft).items()}
    theirs = {k: v.shape for k, v in tensors.items()}
    if ours != theirs:
        odd = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
        raise ModelError(
            f"{folder}: is an adapter of other layers or ranks; {len(odd)} tensors differ, first {odd[:3]}"
        )
    set_peft_model_state_dict(peft, tensors)
    if heads and (folder / HEADS_FILE).is_file():
        saved = load_file(folder / HEADS_FILE)
        for name, head in heads.items():
            own = {k.removeprefix(f"{name}."): v.float() for k, v in saved.items() if k.startswith(f"{name}.")}
            if own:
                head.load_state_dict(own)


def _adapter_state(peft: Any) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(peft, save_embedding_layers=False)


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
    """Compute W' of every layer that runs on it anew; call it after each optimizer step."""
    with torch.no_grad():
        for layer in lora_layers(model):
            if hasattr(layer, "harken_merged"):
                a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
                base = layer.base_layer.weight
                layer.harken_merged = (base.float() + layer.scaling[ADAPTER] * (b @ a)).to(base.dtype)


def _use_merged(model: nn.Module) -> None:
    for layer in lora_layers(model):
        layer.harken_merged = layer.base_layer.weight.data
        layer.forward = partial(_forward, layer)
    merge(model)


def _forward(layer: LoraLinear, x: torch.Tensor) -> torch.Tensor:
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    merged = layer.harken_merged
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, merged = x.to(dtype), merged.to(dtype)
    y = _MergedLinear.apply(x, merged, a, b, layer.scaling[ADAPTER])
    bias = layer.base_layer.bias
    return y if bias is None else y + bias.to(y.dtype)
