"""Audio towers over a batch of equally wide segments: mel frames in, the rows that enter the decoder out.

    mel [N, M, F] -> positions [N, P] that see the first num_keys[n] of their segment -> rows tokens[a] of all N * P positions

A segment is what the tower attends within: a clip for Qwen2-Audio, 2 s of one for Qwen2.5-Omni, 252 patches for Dasheng.
Which positions make an audio token is counted outside (graph_inputs.py), so that tokens may straddle segments.

Source: models/whisper.py and models/dasheng.py in padded form; checked against them.
Letters: N segments, M mels, F frames, P positions, W width, H heads, A audio tokens.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import ModelError
from ..models.dasheng import PATCH, DashengLayer, DashengTower
from ..models.layers import Linear, frozen
from ..models.mllm import AudioLM
from ..models.whisper import TowerLayer, WhisperTower
from .graph import Graph, attend

_MOST, _TOKENS = 256, 65536


class WhisperRows(nn.Module):
    """Tower and projector of Qwen2-Audio or Qwen2.5-Omni."""

    def __init__(self, tower: WhisperTower, projector: nn.Module | None) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector
        self.conv1, self.conv2 = _kernel(tower.conv1), _kernel(tower.conv2)

    def forward(
        self, mel_NMF: torch.Tensor, num_rows_N: torch.Tensor, num_keys_N: torch.Tensor, tokens_A2: torch.Tensor
    ) -> torch.Tensor:
        """[A, W] float32.

        Args:
            mel_NMF: float32, F even; frames past num_rows are not read.
            num_rows_N: int64, frames that a segment holds.
            num_keys_N: int64, positions that count, 1 or more.
            tokens_A2: int64, the two positions of each audio token among all N * P.
        """
        tower = self.tower
        frames_F = torch.arange(mel_NMF.shape[2], device=mel_NMF.device)
        kept_N1F = (frames_F[None] < num_rows_N[:, None])[:, None]
        x = torch.where(kept_N1F, mel_NMF, 0.0).to(self.conv1.dtype)
        x = torch.where(kept_N1F, F.gelu(F.conv1d(x, self.conv1, tower.conv1.bias, padding=1)), 0.0)
        x = F.gelu(F.conv1d(x, self.conv2, tower.conv2.bias, stride=2, padding=1)).transpose(1, 2)
        x = x + tower.positions[: x.shape[1]]
        positions_P = torch.arange(x.shape[1], device=x.device)
        mask = (positions_P[None] < num_keys_N[:, None])[:, None, None]
        for layer in tower.layers:
            x = _whisper_layer(layer, x, mask)  # type: ignore[arg-type]
        x = tower.norm(F.embedding(tokens_A2, x.flatten(0, 1)).mean(1))
        x = x if tower.proj is None else tower.proj(x)
        return (x if self.projector is None else self.projector(x)).float()


def _kernel(linear: Linear) -> nn.Parameter:
    """A convolution of width 3 from its product over neighbouring rows."""
    return frozen(linear.weight.unflatten(1, (3, -1)).transpose(1, 2).contiguous())


def _whisper_layer(layer: TowerLayer, x_NPW: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    q, k, v = layer.qkv(layer.norm1(x_NPW)).unflatten(-1, (3, layer.num_heads, -1)).unbind(2)
    x_NPW = x_NPW + layer.out(attend(q, k, v, mask, q.shape[-1] ** -0.5))
    return x_NPW + layer.fc2(F.gelu(layer.fc1(layer.norm2(x_NPW))))


class DashengRows(nn.Module):
    """Tower and projector of MiDashengLM."""

    def __init__(self, tower: DashengTower, projector: nn.Module) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector

    def forward(self, mel_NMF: torch.Tensor, num_keys_N: torch.Tensor, tokens_A5: torch.Tensor) -> torch.Tensor:
        """[A, W] float32.

        Args:
            mel_NMF: float32, F a multiple of 4.
            num_keys_N: int64, patches that are seen, 1 or more.
            tokens_A5: int64, the patches of each audio token among all N * P.
        """
        tower = self.tower
        mel = mel_NMF.transpose(1, 2) * tower.slope + tower.offset
        x = tower.patch(mel.to(tower.patch.weight.dtype).unflatten(1, (-1, PATCH)).flatten(2))
        x = x + tower.positions[: x.shape[1]]
        patches_P = torch.arange(x.shape[1], device=x.device)
        mask = (patches_P[None] < num_keys_N[:, None])[:, None, None]
        for layer in tower.layers:
            x = _dasheng_layer(layer, x, mask)  # type: ignore[arg-type]
        x = F.embedding(tokens_A5, tower.norm(x).flatten(0, 1)).flatten(1)
        return self.projector(x).float()


def _dasheng_layer(layer: DashengLayer, x_NPW: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    q, k, v = layer.qkv(layer.norm1(x_NPW)).unflatten(-1, (3, layer.num_heads, -1)).unbind(2)
    y = layer.proj(attend(q, k, v, mask, q.shape[-1] ** -0.5))
    x_NPW = x_NPW + (y if layer.scale1 is None else y * layer.scale1)
    y = layer.fc2(F.gelu(layer.fc1(layer.norm2(x_NPW))))
    return x_NPW + (y if layer.scale2 is None else y * layer.scale2)


def tower_graph(model: AudioLM) -> Graph:
    """The graph of a model's tower with its projector.

    Raises:
        ModelError: a tower without a graph.
    """
    tower = model.tower
    count = torch.tensor([12, 8, 4], device=model.device)
    if isinstance(tower, WhisperTower):
        mel = torch.zeros(3, tower.spec.num_mels, 24, device=model.device)
        inputs = {"mel": mel, "num_rows": 2 * count, "num_keys": count, "tokens": _tokens(5, 2, model.device)}
        longest = tower.window or 2 * len(tower.positions)
        ranges = {"frames": (4, min(longest, 1000), longest)}
        step = 2
        module: nn.Module = WhisperRows(tower, model.projector)
    elif isinstance(tower, DashengTower):
        assert model.projector is not None
        inputs = {
            "mel": torch.zeros(3, tower.spec.num_mels, PATCH * 12, device=model.device),
            "num_keys": count,
            "tokens": _tokens(5, tower.group, model.device),
        }
        longest = PATCH * tower.config.window
        step = PATCH
        ranges = {"frames": (2 * PATCH, longest, longest)}
        module = DashengRows(tower, model.projector)
    else:
        raise ModelError(f"export: a {type(tower).__name__} has no graph; wanted a Whisper or Dasheng tower")
    lengths = {key: {0: "segments"} for key in inputs if key != "tokens"}
    lengths["mel"] |= {2: "frames"}
    lengths["tokens"] = {0: "audio_tokens"}
    ranges |= {"segments": (1, 16, _MOST), "audio_tokens": (1, 1024, _TOKENS)}
    return Graph("audio_tower", module.eval(), inputs, lengths, ranges, ("audio_rows",), {"frames": step})


def _tokens(count: int, group: int, device: torch.device) -> torch.Tensor:
    return torch.arange(count * group, device=device).unflatten(0, (count, group))
