"""MiDashengLM (ALM2Vec). Features are the Dasheng tower's outputs, five patches a token, or log-mel frames where it is trained.

ALM2Vec keeps the tower frozen; training it is this project's addition. transformers has no such model, so its parts are put
together here under the names of the checkpoint.

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
from ...engine.models.dasheng import DashengConfig
from ...engine.models.midasheng import text_config
from ...engine.models.names import canonical
from ...engine.models.weights import checkpoint_files
from ...errors import ModelError
from .backbone import Backbone, decoder_parts
from .dasheng import TrainableDasheng

_BLOCK = r"audio_encoder\.blocks\.\d+"


class _Projector(nn.Module):
    def __init__(self, fc1: nn.Linear, fc2: nn.Linear) -> None:
        super().__init__()
        self.net = nn.Sequential(fc1, nn.GELU(), fc2)


class _MiDasheng(nn.Module):
    def __init__(self, tower: TrainableDasheng | None, projector: _Projector, decoder: Any) -> None:
        super().__init__()
        self.audio_encoder, self.audio_projector, self.decoder = tower, projector, decoder

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder.lm_head


class MiDashengBackbone(Backbone):
    parts = {
        **decoder_parts(r"decoder\.model"),
        "tower": rf"{_BLOCK}\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))",
        "tower-attention": rf"{_BLOCK}\.attn\.(qkv|proj)",
        "projector": r"audio_projector\.net\.(0|2)",
    }
    projector_names = ["audio_projector.net.0", "audio_projector.net.2"]

    def __init__(self, folder: Path, *, dtype: torch.dtype, trains_tower: bool) -> None:
        super().__init__(folder, trains_tower=trains_tower)
        config = read_json(folder / "config.json")
        tensors = _read(folder, dtype, with_tower=trains_tower)
        tower = _tower(tensors, config, folder) if trains_tower else None
        self.model = _MiDasheng(tower, _projector(tensors, folder), _decoder(tensors, config, folder, dtype))
        self.audio_token_id = int(config.get("audio_token_id", 151646))

    @property
    def decoder(self) -> Any:
        return self.model.decoder.model

    def checkpoint_layers(self) -> None:
        self.model.decoder.gradient_checkpointing_enable({"use_reentrant": False})
        if self.model.audio_encoder is not None:
            self.model.audio_encoder.keeps_activations = False

    def num_tokens(self, features: np.ndarray) -> int:
        tower = self.model.audio_encoder
        return len(features) if tower is None else tower.num_tokens(len(features))

    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        tower, net = self.model.audio_encoder, self.model.audio_projector.net
        rows = torch.from_numpy(np.concatenate(features)).to(self.device) if tower is None else tower(features)
        return net(rows.to(net[0].weight.dtype))


def _read(folder: Path, dtype: torch.dtype, *, with_tower: bool) -> dict[str, torch.Tensor]:
    """The tensors by canonical name; the statistics before the tower stay in float32."""
    tensors = {}
    for file in checkpoint_files(folder):
        with safe_open(file, framework="pt") as handle:
            for key in handle.keys():
                name = canonical(key)
                if name is None or (name.startswith("audio_tower.") and not with_tower):
                    continue
                is_norm = name.startswith("audio_tower.init_bn.")
                tensors[name] = handle.get_tensor(key).to(torch.float32 if is_norm else dtype)
    return tensors


def _tower(tensors: dict[str, torch.Tensor], config: dict[str, Any], folder: Path) -> TrainableDasheng:
    prefix = "audio_tower."
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    sizes = DashengConfig.read(config.get("audio_encoder_config", {}), str(folder / "config.json"))
    return TrainableDasheng(own, sizes, group=int(config.get("subsample_factor", 5)), where=str(folder))


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
