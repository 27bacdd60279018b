"""The Whisper-type audio towers of Qwen2-Audio and Qwen2.5-Omni, over packed frames.

    conv1 (3, stride 1) -> gelu -> conv2 (3, stride 2) -> gelu -> + positions
    -> layers: attention inside a segment, gelu MLP -> mean of pairs -> norm -> projection

Qwen2-Audio has one segment a clip, full attention over it, and reads two frames past the clip's end; so a clip is never
padded to 30 s. Qwen2.5-Omni cuts a clip into segments of 200 frames (2 s) that see zeros at their edges, restart their
positions and attend within themselves. Both convolutions are products over gathered rows, so that segments lie end to end.

Source: spec/models.md 1.2 and 1.5; checked against transformers.
Letters: F frames, M mels, P positions after conv2, W width, H heads, D head width, A audio tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.logmel import LogMel, LogMelSpec, logmel
from .attention import self_attention
from .config import TowerConfig
from .layers import LayerNorm, Linear, frozen
from .packed import Segments
from .transfer import put
from .weights import Weights


@dataclass(frozen=True, slots=True)
class TowerPlan:
    """Which rows each step of the tower reads. A row number past the end stands for a row of zeros."""

    conv1_F3: np.ndarray
    conv2_P3: np.ndarray
    positions_P: np.ndarray
    segments: Segments
    pairs_A2: np.ndarray
    num_tokens: tuple[int, ...]


def num_positions(num_frames: int) -> int:
    """Rows that conv2 makes of `num_frames` valid frames."""
    return (num_frames - 1) // 2 + 1


def num_audio_tokens(num_frames: int) -> int:
    """Audio tokens of a clip: pairs of positions, an odd last one dropped (0 for clips of one or two frames)."""
    return (num_positions(num_frames) - 2) // 2 + 1


def plan_tower(num_frames: Sequence[int], cu_frames: Sequence[int], window: int | None) -> TowerPlan:
    """Lay out the segments of a batch; those of equal length lie side by side, longest first.

    Args:
        num_frames: valid frames T of each clip, 1 or more.
        cu_frames: first feature row of each clip and the end; a clip may hold rows past T that its last position reads.
        window: frames a segment, or None for one segment a clip.
    """
    cuts = []  # (clip, first frame row, frames that may be read, positions kept)
    for clip, (frames, first, end) in enumerate(zip(num_frames, cu_frames, cu_frames[1:])):
        if window is None:
            cuts.append((clip, first, end - first, num_positions(frames)))
        else:
            for start in range(0, frames, window):
                length = min(window, frames - start)
                cuts.append((clip, first + start, length, num_positions(length)))
    order = sorted(range(len(cuts)), key=lambda i: -cuts[i][3])
    conv1, conv2, positions = [], [], []
    num_conv1, num_rows = sum(cut[2] for cut in cuts), sum(cut[3] for cut in cuts)
    rows_of_cut: list[np.ndarray] = [np.empty(0, np.int64)] * len(cuts)
    first_conv1 = first_row = 0
    for i in order:
        _, first, length, kept = cuts[i]
        conv1.append(_taps(np.arange(length), length, first, cu_frames[-1]))
        conv2.append(_taps(2 * np.arange(kept), length, first_conv1, num_conv1))
        positions.append(np.arange(kept))
        rows_of_cut[i] = np.arange(first_row, first_row + kept)
        first_conv1, first_row = first_conv1 + length, first_row + kept
    clip_rows: list[list[np.ndarray]] = [[] for _ in num_frames]
    for cut, rows in zip(cuts, rows_of_cut):
        clip_rows[cut[0]].append(rows)
    tokens = tuple(num_audio_tokens(frames) for frames in num_frames)
    pairs = [np.concatenate(rows)[: 2 * n].reshape(n, 2) for rows, n in zip(clip_rows, tokens)]
    assert first_row == num_rows
    return TowerPlan(
        conv1_F3=np.concatenate(conv1),
        conv2_P3=np.concatenate(conv2),
        positions_P=np.concatenate(positions),
        segments=Segments.of([cuts[i][3] for i in order]),
        pairs_A2=np.concatenate(pairs),
        num_tokens=tokens,
    )


def _taps(centres: np.ndarray, length: int, first: int, zero_row: int) -> np.ndarray:
    """[n, 3] rows left of, at and right of each centre; outside the segment's `length` rows: the row of zeros."""
    taps = centres[:, None] + np.arange(-1, 2)
    return np.where((taps >= 0) & (taps < length), first + taps, zero_row)


class TowerLayer(nn.Module):
    def __init__(self, weights: Weights, name: str, config: TowerConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.norm1 = LayerNorm.load(weights, f"{name}.self_attn_layer_norm", width)
        self.qkv = Linear.load_stacked(weights, [f"{name}.self_attn.{p}_proj" for p in "qkv"], width, [width] * 3)
        self.out = Linear.load(weights, f"{name}.self_attn.out_proj", width, width)
        self.norm2 = LayerNorm.load(weights, f"{name}.final_layer_norm", width)
        self.fc1 = Linear.load(weights, f"{name}.fc1", width, config.mlp_width)
        self.fc2 = Linear.load(weights, f"{name}.fc2", config.mlp_width, width)

    def forward(self, x_PW: torch.Tensor, segments: Segments) -> torch.Tensor:
        return self.finish(x_PW, self_attention(self.qkv(self.norm1(x_PW)), self.num_heads, segments))

    def finish(self, x_PW: torch.Tensor, attended_PW: torch.Tensor) -> torch.Tensor:
        """The layer after its attention."""
        x_PW = x_PW + self.out(attended_PW)
        return x_PW + self.fc2(F.gelu(self.fc1(self.norm2(x_PW))))


class WhisperTower(nn.Module):
    """From packed log-mel frames to audio tokens.

    Args:
        weights: gives `audio_tower.*`.
        config: sizes.
        spec: the log-mel features it was trained on.
        max_samples: where the features' transform ends: longer clips are cut, and a clip that fills it sees itself mirrored.
        window: frames a segment (Qwen2.5-Omni: 200), None for whole clips (Qwen2-Audio).
        final_norm: the name of the norm after the pairs: `layer_norm` or `ln_post`.
        out_width: width of `audio_tower.proj`, or None where the projector stands outside the tower.
    """

    def __init__(
        self,
        weights: Weights,
        config: TowerConfig,
        *,
        spec: LogMelSpec,
        max_samples: int,
        window: int | None,
        final_norm: str,
        out_width: int | None,
    ) -> None:
        super().__init__()
        self.config, self.spec, self.max_samples, self.window = config, spec, max_samples, window
        self.conv1 = _conv(weights, "audio_tower.conv1", config.num_mels, config.width)
        self.conv2 = _conv(weights, "audio_tower.conv2", config.width, config.width)
        if "audio_tower.embed_positions.weight" in weights:
            positions = weights.take("audio_tower.embed_positions.weight", config.max_positions, config.width)
        else:
            positions = sinusoids(config.max_positions, config.width).to(self.conv1.weight)
        self.positions = frozen(positions)
        self.layers = nn.ModuleList(
            TowerLayer(weights, f"audio_tower.layers.{i}", config) for i in range(config.num_layers)
        )
        self.norm = LayerNorm.load(weights, f"audio_tower.{final_norm}", config.width)
        self.proj = None if out_width is None else Linear.load(weights, "audio_tower.proj", config.width, out_width)

    def num_tokens(self, num_samples: int) -> int:
        """Audio tokens of a clip of `num_samples`."""
        return num_audio_tokens(-(-min(num_samples, self.max_samples) // self.spec.hop_length))

    def features(self, samples_N: torch.Tensor, cu_samples: Sequence[int]) -> LogMel:
        """Log-mel frames of packed clips; whole clips keep the two frames past their end that the last position reads."""
        extra = 2 if self.window is None else 0
        return logmel(samples_N, cu_samples, self.spec, extra_frames=extra, max_samples=self.max_samples)

    def encode(self, mel: LogMel) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Packed audio tokens [A, W] and how many each clip has."""
        plan = plan_tower(mel.num_frames, mel.cu_frames, self.window)
        return self(mel.features_FM.to(self.conv1.weight.dtype), plan), plan.num_tokens

    def forward(self, features_FM: torch.Tensor, plan: TowerPlan) -> torch.Tensor:
        """[F, M] packed frames to [A, W] packed audio tokens."""
        rows = lambda index: put(index, features_FM.device)
        x = _gathered(features_FM, rows(plan.conv1_F3))
        x = _gathered(F.gelu(self.conv1(x)), rows(plan.conv2_P3))
        x = F.gelu(self.conv2(x)) + self.positions[rows(plan.positions_P)]
        x = self.stack(x, plan.segments)
        x = self.norm(x[rows(plan.pairs_A2)].mean(1))
        return x if self.proj is None else self.proj(x)

    def stack(self, x_PW: torch.Tensor, segments: Segments) -> torch.Tensor:
        """The layers alone, [P, W] to [P, W]."""
        for layer in self.layers:
            x_PW = layer(x_PW, segments)
        return x_PW


def _gathered(x: torch.Tensor, rows_N3: torch.Tensor) -> torch.Tensor:
    """[N, 3 * width]: the three rows under a convolution's window, zeros where the row number is past the end."""
    return F.pad(x, (0, 0, 0, 1))[rows_N3].flatten(1)


def _conv(weights: Weights, name: str, num_in: int, num_out: int) -> Linear:
    """A convolution of width 3 as a product over three neighbouring rows."""
    kernel = weights.take(f"{name}.weight", num_out, num_in, 3)
    return Linear(kernel.permute(0, 2, 1).flatten(1).contiguous(), weights.take(f"{name}.bias", num_out))


def sinusoids(length: int, width: int) -> torch.Tensor:
    """[length, width] float32: sines in the first half, cosines in the second, periods up to 10000."""
    step = math.log(10000.0) / (width // 2 - 1)
    angles = torch.arange(length).float()[:, None] * torch.exp(-step * torch.arange(width // 2).float())
    return torch.cat([angles.sin(), angles.cos()], 1)
