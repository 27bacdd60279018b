"""MiDashengLM (and ALM2Vec, which is trained from it): a Dasheng tower, five patches a token, a Qwen2.5 decoder.

    token = W2 gelu(W1 [p0 p1 p2 p3 p4] + b1) + b2

Source: spec/models.md 1.7; spec/recipes.md D.6.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .config import DecoderConfig, decoder_config
from .dasheng import DashengConfig, DashengTower
from .decoder import Decoder
from .layers import Linear
from .mllm import AudioLM
from .weights import Weights

# What the checkpoint's text config leaves out: the text model of Qwen2.5-Omni-7B.
_TEXT_DEFAULTS: dict[str, Any] = dict(
    hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
    vocab_size=152064, rms_norm_eps=1e-6, tie_word_embeddings=False,
)  # fmt: skip


class Projector(nn.Module):
    """Two products with a gelu between; each has a bias if the checkpoint has one."""

    def __init__(self, weights: Weights, num_in: int, num_out: int) -> None:
        super().__init__()
        self.fc1 = Linear.load(weights, "projector.0", num_in, num_out)
        self.fc2 = Linear.load(weights, "projector.2", num_out, num_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def text_config(config: dict[str, Any], where: str) -> DecoderConfig:
    """The decoder's numbers, with those that the checkpoint leaves out."""
    given = {**_TEXT_DEFAULTS, **config.get("text_config", {})}
    if "rope_parameters" not in given:
        given.setdefault("rope_theta", 1e6)
    return decoder_config(given, where)


def build(folder: Path, config: dict[str, Any], weights: Weights) -> AudioLM:
    """Build the model of a MiDashengLM checkpoint."""
    where = str(folder / "config.json")
    text = text_config(config, where)
    audio = DashengConfig.read(config.get("audio_encoder_config", {}), where)
    group = int(config.get("subsample_factor", 5))
    tower = DashengTower(weights, audio, group=group)
    projector = Projector(weights, group * audio.width, text.width)
    return AudioLM(tower, projector, Decoder(weights, text), int(config.get("audio_token_id", 151646)))
