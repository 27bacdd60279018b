"""Tiny checkpoints with adapters and recipes, for exports."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harken.engine.models.names import canonical

from ... import tiny

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Model:
    """What a user gives to export."""

    folder: Path
    adapter: Path
    recipe: str

    @property
    def args(self) -> dict:
        return {"model": self.folder, "adapter": self.adapter, "recipe": self.recipe}


def lora(checkpoint: Path, folder: Path, *, rank: int = 4) -> Path:
    """An adapter on every linear layer of the decoder and one of the audio tower, far from zero."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(11)
    tensors = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        with safe_open(file, framework="pt") as handle:
            for key in handle.keys():
                name = canonical(key) or ""
                adapted = name.startswith("decoder.layers.") and name.split(".")[-2] in LINEARS
                if not name.endswith(".weight") or not (adapted or name.endswith("audio_tower.layers.0.fc1.weight")):
                    continue
                rows, columns = handle.get_slice(key).get_shape()
                module = name.removesuffix(".weight").replace("decoder.", "model.", 1)
                draw = lambda *shape: 0.3 * torch.randn(shape, generator=generator)
                tensors[f"base_model.model.{module}.lora_A.weight"] = draw(rank, columns) / columns**0.5
                tensors[f"base_model.model.{module}.lora_B.weight"] = draw(rows, rank)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}))
    return folder


def omni(folder: Path) -> Model:
    """Qwen2.5-Omni's whole layout in three shards, for the recipe that pools the last token; 4 heads, 2 key-value heads."""
    tiny.omni(folder / "model", "full", shards=3)
    return Model(folder / "model", lora(folder / "model", folder / "lora"), "aurola-3b")


def mini(folder: Path, *, dim: int = 24) -> Model:
    """The built-in model's kind: a llama decoder, mean pooling, two heads."""
    tiny.qwen2_audio(folder / "model", text="llama", num_mels=80)
    tiny.write_heads(folder / "model", ["audio_head", "text_head"], width=48, dim=dim)
    return Model(folder / "model", lora(folder / "model", folder / "lora"), "harken-mini")


def shallow(folder: Path, source: Path) -> Path:
    """A checkpoint with one layer where `source` has several, because tracing takes seconds a layer.

    Of HTSAT's stages the first keeps two layers, of which one is shifted.
    """
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if not path.name.startswith("model"):
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    inner = config.get("thinker_config", config)
    for part in (inner.get("text_config", {}), inner.get("audio_config", {}), inner.get("projection", {})):
        part.update({key: 1 for key in ("num_hidden_layers", "encoder_layers", "num_layers") if key in part})
    inner.get("audio_encoder_config", {}).update(depth=1)
    if "depths" in inner.get("audio_config", {}):
        inner["audio_config"]["depths"] = [2, 1, 1, 1]
    (folder / "config.json").write_text(json.dumps(config))
    kept = {}
    for file in source.glob("model*.safetensors"):
        for key, tensor in load_file(file).items():
            stage = re.search(r"audio_encoder\.layers\.(\d+)\.blocks\.(\d+)\.", key)
            layer = re.search(r"\.(?:layers|layer|blocks)\.(\d+)\.", key)
            if stage:
                deep = int(stage[2]) > (int(stage[1]) == 0)
            else:
                deep = layer is not None and int(layer[1]) > 0 and ".downsample." not in key and "visual." not in key
            if not deep:
                kept[key] = tensor
    save_file(kept, folder / "model.safetensors")
    return folder
