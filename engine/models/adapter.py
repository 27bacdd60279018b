"""LoRA adapters in peft's layouts, merged into the weights while they are read.

    W' = W + s B A        s = alpha / r, or alpha / sqrt(r) with rslora; computed in float32, cast once

Modules that were trained whole (`modules_to_save`) replace the checkpoint's tensor. Every tensor of the adapter must find
its place; one that does not is an error, because peft itself only warns and then gives wrong vectors.

Source: LoRA (arXiv 2106.09685) equation 3; spec/models.md section 5.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ...errors import ModelError
from .names import canonical

_LORA_KEY = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(\.\w+)?\.weight$")
# Settings that change what the adapter computes and that are not merged here.
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "lora_bias",
    "layer_replication",
    "megatron_config",
    "alora_invocation_tokens",
)


class Adapter:
    """An adapter folder: `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        ModelError: a file is missing, the kind of adapter is not supported, or a tensor's partner is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        config = _read_config(self.folder / "adapter_config.json")
        weights_file = self.folder / "adapter_model.safetensors"
        if not weights_file.is_file():
            raise ModelError(f"adapter {self.folder}: adapter_model.safetensors is missing")
        self._config = config
        self._pairs: dict[str, dict[str, torch.Tensor]] = {}
        self._whole: dict[str, torch.Tensor] = {}
        for key, tensor in load_file(weights_file).items():
            self._place(key, tensor)
        for module, pair in self._pairs.items():
            if set(pair) != {"A", "B"}:
                raise ModelError(f"adapter {self.folder}: {module} has lora_{''.join(pair)} but not its partner")
        self._unused = set(self._pairs) | set(self._whole)

    def _place(self, key: str, tensor: torch.Tensor) -> None:
        name = key.removeprefix("base_model.model.")
        match = _LORA_KEY.match(name)
        if match:
            module = canonical(match["module"] + ".")
            if module is None:
                raise ModelError(f"adapter {self.folder}: {key} adapts a part that harken does not run")
            self._pairs.setdefault(module.removesuffix("."), {})[match["side"]] = tensor
        elif ".lora_" in name or "magnitude" in name:
            raise ModelError(f"adapter {self.folder}: {key} is not plain LoRA on a linear layer")
        else:
            whole = canonical(re.sub(r"\.modules_to_save(\.\w+)?", "", name))
            if whole is None:
                raise ModelError(f"adapter {self.folder}: {key} replaces a part that harken does not run")
            self._whole[whole] = tensor

    def apply(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The adapted tensor of canonical `name`; `weight` itself where the adapter does not touch it. float32 if adapted."""
        if name in self._whole:
            self._unused.discard(name)
            whole = self._whole[name]
            if whole.shape != weight.shape:
                raise ModelError(
                    f"adapter {self.folder}: {name} has shape {tuple(whole.shape)}, the checkpoint {tuple(weight.shape)}"
                )
            return whole
        module = name.removesuffix(".weight")
        if module == name or module not in self._pairs:
            return weight
        self._unused.discard(module)
        a, b = self._pairs[module]["A"].float(), self._pairs[module]["B"].float()
        if weight.shape != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"adapter {self.folder}: {module} wants a weight of shape ({b.shape[0]}, {a.shape[1]}), "
                f"the checkpoint has {tuple(weight.shape)}"
            )
        return weight.float() + self._scale(module, a.shape[0]) * (b @ a)

    def _scale(self, module: str, rank: int) -> float:
        alpha = _pattern(self._config.get("alpha_pattern"), module, self._config.get("lora_alpha", 8))
        return alpha / math.sqrt(rank) if self._config.get("use_rslora") else alpha / rank

    def describe(self) -> dict[str, int | float]:
        """What the adapter adapts, in numbers."""
        return {
            "layers": len(self._pairs),
            "replaced tensors": len(self._whole),
            "rank": self._config.get("r", 8),
            "alpha": self._config.get("lora_alpha", 8),
        }

    def check_all_used(self) -> None:
        """Raise a ModelError with the list of tensors that found no place in the checkpoint."""
        if self._unused:
            raise ModelError(f"adapter {self.folder}: no tensor of the checkpoint answers to {sorted(self._unused)}")


class AdapterStack:
    """Adapters one upon another, the first next to the checkpoint; used like one."""

    def __init__(self, adapters: Sequence[Adapter]) -> None:
        self._adapters = adapters

    def apply(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """As `Adapter.apply`."""
        for adapter in self._adapters:
            weight = adapter.apply(name, weight)
        return weight

    def check_all_used(self) -> None:
        """As `Adapter.check_all_used`, of each."""
        for adapter in self._adapters:
            adapter.check_all_used()


def open_adapter(folder: str | Path | Sequence[str | Path]) -> Adapter | AdapterStack:
    """One adapter, or several that were trained one upon another.

    Raises:
        ModelError: as `Adapter`.
    """
    return Adapter(folder) if isinstance(folder, (str, Path)) else AdapterStack([Adapter(one) for one in folder])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as an adapter's configuration: {error}") from None
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelError(f"{path}: peft_type is {kind}, only LORA can be merged")
    used = [name for name in _UNSUPPORTED if config.get(name)]
    if used:
        raise ModelError(
            f"{path}: {', '.join(used)} is set, which changes what the adapter computes and is not supported"
        )
    if config.get("bias", "none") != "none":
        raise ModelError(f"{path}: bias is {config['bias']!r}, only 'none' can be merged")
    return config


def _pattern(patterns: dict[str, float] | None, module: str, default: float) -> float:
    """peft's rule: the first pattern that is the module's name or ends it after a dot."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
