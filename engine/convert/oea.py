"""Omni-Embed-Audio's published checkpoint: 9 to 18 GB of pickle, of which 60 MB are not in the public base model.

    lora_state_dict   the whole model with its adapter -> the tensors named lora_A and lora_B, as a peft adapter folder
    audio_head, text_head                              -> heads.safetensors beside them

The pickle is read once, memory-mapped, by torch's restricted reader: of classes it may only name paths, which are read as
strings. Rank is read from the tensors; the scale is 2, as published (rank 16, alpha 32).

Source: spec/recipes.md B.1 (contents), B.3 (heads); peft's adapter layout.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ...errors import ModelError
from ..models.heads import FILE as HEADS_FILE
from ..models.names import canonical
from .folder import build_once
from .from_pickle import read_pickle

SCALE = 2
_HEADS = ("audio_head", "text_head")
_HEAD_TENSORS = ("linear.weight", "norm.weight", "norm.bias")
# Settings that training stored as paths; whatever the system and Python version, they are read as strings.
_PATHS = [
    f"pathlib{inner}.{name}" for inner in ("", "._local") for name in ("PosixPath", "WindowsPath", "PurePosixPath")
]
# Where peft looks for a thinker's parts.
_PEFT_NAMES = {"decoder.": "base_model.model.model.", "audio_tower.": "base_model.model.audio_tower."}


def convert_oea(source: Path, out: Path) -> Path:
    """Write the adapter folder of a published Omni-Embed-Audio file.

    Args:
        source: the .pt file.
        out: folder to make; it must not exist.

    Returns: `out`, which `harken.load(base, recipe="oea-...", adapter=out)` takes.

    Raises:
        ModelError: `source` is no such file, holds what no such file holds, or `out` is there already.
    """
    if out.exists():
        raise ModelError(f"{out}: is there already; wanted a folder that can be made")
    checkpoint = _read(source)
    adapter, rank = _adapter(source, checkpoint)
    heads = _heads(source, checkpoint)
    targets = sorted({name.rsplit(".", 3)[1] for name in adapter})
    config = {
        "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "inference_mode": True, "base_model_name_or_path": None,
        "r": rank, "lora_alpha": SCALE * rank, "lora_dropout": 0.05, "bias": "none", "use_rslora": False,
        "use_dora": False, "fan_in_fan_out": False, "target_modules": targets, "modules_to_save": None,
    }  # fmt: skip

    def build(folder: Path) -> None:
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        save_file(heads, folder / HEADS_FILE, metadata={"format": "pt"})

    return build_once(out, build)


def _read(source: Path) -> dict[str, Any]:
    checkpoint = read_pickle(source, [(_path, name) for name in _PATHS])
    wanted = ("lora_state_dict", *_HEADS)
    got = sorted(checkpoint) if isinstance(checkpoint, dict) else type(checkpoint).__name__
    if not isinstance(checkpoint, dict) or any(not isinstance(checkpoint.get(key), dict) for key in wanted):
        raise ModelError(f"{source}: is no Omni-Embed-Audio checkpoint: wanted the parts {list(wanted)}, got {got}")
    return checkpoint


def _path(*parts: str) -> str:
    return os.sep.join(parts)


def _adapter(source: Path, checkpoint: dict[str, Any]) -> tuple[dict[str, torch.Tensor], int]:
    """The adapter's tensors by peft's names, float32, and their rank."""
    adapter = {}
    for key, tensor in checkpoint["lora_state_dict"].items():
        if ".lora_" not in key:
            continue
        module, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
        name = canonical(module + ".")
        prefix = next((p for p in _PEFT_NAMES if name is not None and name.startswith(p)), None)
        side = side.replace(".default", "")
        if prefix is None or side not in ("A.weight", "B.weight"):
            raise ModelError(f"{source}: {key} is no LoRA of a linear layer of the decoder or the audio tower")
        assert name is not None
        adapter[f"{_PEFT_NAMES[prefix]}{name[len(prefix) : -1]}.lora_{side}"] = tensor.float().contiguous()
    if not adapter:
        raise ModelError(f"{source}: lora_state_dict holds no tensor with lora_ in its name")
    ranks = {tensor.shape[0 if name.endswith("lora_A.weight") else 1] for name, tensor in adapter.items()}
    if len(ranks) != 1:
        raise ModelError(f"{source}: its LoRA has the ranks {sorted(ranks)}, wanted one")
    return adapter, ranks.pop()


def _heads(source: Path, checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    for head in _HEADS:
        if sorted(checkpoint[head]) != sorted(_HEAD_TENSORS):
            raise ModelError(f"{source}: {head} holds {sorted(checkpoint[head])}, wanted {sorted(_HEAD_TENSORS)}")
    return {
        f"{head}.{name}": tensor.float().contiguous() for head in _HEADS for name, tensor in checkpoint[head].items()
    }
