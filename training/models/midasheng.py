"""MiDashengLM (ALM2Vec): its Dasheng tower is frozen and its outputs, five patches a token, are the features.

transformers has no such model, so projector and decoder are put together here under the names of the checkpoint.

Source: own; spec/recipes.md D.2, D.3, D.6.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from ...engine.models.config import read_json
from ...engine.models.midasheng import text_config
from ...engine.models.names import canonical
from ...engine.models.weights import checkpoint_files
from ...errors import ModelError
from .backbone import Backbone, decoder_parts


class _Projector(nn.Module):
    def __init__(self, fc1: nn.Linear, fc2: nn.Linear) -> None:
        super().__init__()
        self.net = nn.Sequential(fc1, nn.GELU(), fc2)


class _MiDasheng(nn.Module):
    def __init__(self, projector: _Projector, decoder: Any) -> None:
        super().__init__()
        self.audio_projector, self.decoder = projector, decoder

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder.lm_head


class MiDashengBackbone(Backbone):
    parts = {
        **decoder_parts(r"decoder\.model"),
        "projector": r"audio_projector\.net\.(0|2)",
    }
    projector_names = ["audio_projector.net.0", "audio_projector.net.2"]

    def __init__(self, folder: Path, *, dtype: torch.dtype, trains_tower: bool) -> None:
        if trains_tower:
            raise ModelError(f"{folder}: the tower of MiDashengLM stays frozen; take 'tower' out of lora.parts")
        super().__init__(folder, trains_tower=False)
        config = read_json(folder / "config.json")
        tensors = _read(folder, dtype)
        self.model = _MiDasheng(_projector(tensors, folder), _decoder(tensors, config, folder, dtype))
        self.audio_token_id = int(config.get("audio_token_id", 151646))

    @property
    def decoder(self) -> Any:
        return self.model.decoder.model

    def checkpoint_layers(self) -> None:
        self.model.decoder.gradient_checkpointing_enable({"use_reentrant": False})

    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        rows = torch.from_numpy(np.concatenate(features)).to(self.device)
        net = self.model.audio_projector.net
        return net(rows.to(net[0].weight.dtype))


def _read(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Everything but the tower, by canonical name."""
    tensors = {}
    for file in checkpoint_files(folder):
        with safe_open(file, framework="pt") as handle:
            for key in handle.keys():
                name = canonical(key)
                if name is not None and not name.startswith("audio_tower."):
                    tensors[name] = handle.get_tensor(key).to(dtype)
    return tensors


def _projector(tensors: dict[str, torch.Tensor], folder: Path) -> _Projector:
    layers = []
    for name in ("projector.0", "projector.2"):
        if f"{name}.weight" not in tensors:
            raise ModelError(f"{folder}: {name}.weight is missing")
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = bias
        layers.append(layer)
    return _Projector(*layers)


def _decoder(tensors: dict[str, torch.Tensor], config: dict[str, Any], folder: Path, dtype: torch.dtype) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    text = text_config(config, str(folder / "config.json"))
    decoder = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=text.vocab_size,
            hidden_size=text.width,
            intermediate_size=text.mlp_width,
            num_hidden_layers=text.num_layers,
            num_attention_heads=text.num_heads,
            num_key_value_heads=text.num_kv_heads,
            head_dim=text.head_width,
            rms_norm_eps=text.rms_eps,
            rope_parameters={"rope_type": "default", "rope_theta": text.rope_theta},
            tie_word_embeddings=text.tied_head,
        )
    ).to(dtype)
    for name, tensor in decoder.state_dict().items():
        key = name if name.startswith("lm_head.") else "decoder." + name.removeprefix("model.")
        if key in tensors and tensors[key].shape == tensor.shape:
            tensor.copy_(tensors[key])
        elif not name.startswith("lm_head."):
            raise ModelError(f"{folder}: {key} is missing or misshapen; wanted {tuple(tensor.shape)}")
    return decoder
