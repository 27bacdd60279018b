"""The Dasheng audio tower of MiDashengLM, over packed log-mel frames.

    mel -> a mel + b (BatchNorm) -> product over 4 frames -> + time and frequency positions
    -> in windows of 252 patches, each alone: x += g1 attention(norm1(x));  x += g2 mlp(norm2(x))
    -> norm -> 5 patches side by side

A clip of N samples has T = 1 + N // 160 frames and T // 4 patches, of which the first N // 640 may be attended to: where a
clip ends in the last quarter of a patch, that patch sees the others and nothing sees it. It is laid behind all windows
and asks by itself; where no token takes it, it is left out. Patches past the last full five are seen but make no token.

Source: spec/models.md 1.7 and spec/recipes.md D.6.
Letters: F frames, M mels, R patches (rows), W width, H heads, D head width, A audio tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...errors import ModelError
from ...kernels.logmel import SPECS, LogMel, LogMelSpec, logmel
from .attention import packed_attention
from .layers import LayerNorm, Linear, frozen
from .packed import Segments
from .transfer import put
from .weights import Weights

PATCH = 4
# Shorter clips are followed by zeros up to this length.
MIN_SAMPLES = 3200


@dataclass(frozen=True, slots=True)
class DashengConfig:
    """Sizes of the tower."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    # Patches a window, and rows of the time table.
    window: int

    @classmethod
    def read(cls, config: dict[str, Any], where: str) -> "DashengConfig":
        """From `audio_encoder_config`.

        Raises:
            ModelError: patches or features that this tower does not have.
        """
        spec = SPECS["dasheng-64"]
        wanted = dict(
            n_mels=spec.num_mels, sample_rate=spec.sample_rate_hz, hop_length=spec.hop_length, n_fft=spec.n_fft,
            win_length=spec.n_fft, f_min=0, f_max=8000, center=True,
        )  # fmt: skip
        wrong = {key: config[key] for key, value in wanted.items() if config.get(key, value) != value}
        for key in ("patch_size", "patch_stride"):
            got = config.get(key, [spec.num_mels, PATCH])
            if list(got) != [spec.num_mels, PATCH]:
                wrong[key] = got
        if wrong:
            raise ModelError(f"{where}: audio_encoder_config has {wrong}; wanted {wanted} and patches of 64 x {PATCH}")
        width = int(config.get("embed_dim", 1280))
        return cls(
            width=width,
            num_layers=int(config.get("depth", 32)),
            num_heads=int(config.get("num_heads", 16)),
            mlp_width=int(width * config.get("mlp_ratio", 4.0)),
            window=int(config.get("target_length", 1008)) // PATCH,
        )


@dataclass(frozen=True, slots=True)
class DashengPlan:
    """Which rows each step of the tower reads."""

    # First feature row of each patch, and its place in its window.
    frames_R: np.ndarray
    positions_R: np.ndarray
    # The windows; the rows behind them are the patches that nothing sees.
    segments: Segments
    # For each of those: the rows of the window it looks at, and how they are cut.
    seen_rows: np.ndarray
    seen: Segments
    # The patches of each audio token.
    tokens_A5: np.ndarray
    num_tokens: tuple[int, ...]


def plan_dasheng(num_frames: Sequence[int], cu_frames: Sequence[int], window: int, group: int) -> DashengPlan:
    """Lay out the windows of a batch; those of equal length lie side by side, longest first.

    Args:
        num_frames: frames of each clip.
        cu_frames: first feature row of each clip and the end.
        window: patches a window.
        group: patches a token.
    """
    # (clip, first patch, patches that are seen); and (clip, patch, number of the window it looks at).
    windows: list[tuple[int, int, int]] = []
    unseen: list[tuple[int, int, int]] = []
    for clip, frames in enumerate(num_frames):
        num_patches, num_seen = frames // PATCH, (frames - 1) // PATCH
        if num_patches % window == 1:
            # A window of one patch cannot but look at itself.
            num_seen = num_patches
        windows.extend((clip, i, min(window, num_seen - i)) for i in range(0, num_seen, window))
        if num_seen < num_patches and num_patches % group == 0:
            unseen.append((clip, num_patches - 1, len(windows) - 1))
    order = sorted(range(len(windows)), key=lambda i: -windows[i][2])
    segments = Segments.of([windows[i][2] for i in order])
    rows_of_window = {i: np.arange(a, b) for i, a, b in zip(order, segments.starts, segments.starts[1:])}
    rows_of_clip: list[list[np.ndarray]] = [[] for _ in num_frames]
    frames_R, positions_R = (np.zeros(segments.num_rows + len(unseen), np.int64) for _ in range(2))
    for i, (clip, first, length) in enumerate(windows):
        rows = rows_of_window[i]
        frames_R[rows] = cu_frames[clip] + PATCH * (first + np.arange(length))
        positions_R[rows] = np.arange(length)
        rows_of_clip[clip].append(rows)
    for row, (clip, patch, _) in enumerate(unseen, segments.num_rows):
        frames_R[row], positions_R[row] = cu_frames[clip] + PATCH * patch, patch % window
        rows_of_clip[clip].append(np.array([row]))
    num_tokens = tuple(frames // PATCH // group for frames in num_frames)
    seen_rows = [rows_of_window[i] for _, _, i in unseen]
    return DashengPlan(
        frames_R=frames_R,
        positions_R=positions_R,
        segments=segments,
        seen_rows=np.concatenate([np.empty(0, np.int64), *seen_rows]),
        seen=Segments.of([len(rows) for rows in seen_rows]),
        tokens_A5=np.concatenate(
            [np.concatenate(rows)[: n * group].reshape(n, group) for rows, n in zip(rows_of_clip, num_tokens)]
        ),
        num_tokens=num_tokens,
    )


class DashengLayer(nn.Module):
    def __init__(self, weights: Weights, name: str, config: DashengConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.norm1 = LayerNorm.load(weights, f"{name}.norm1", width, 1e-6)
        self.qkv = Linear.load(weights, f"{name}.attn.qkv", width, 3 * width)
        self.proj = Linear.load(weights, f"{name}.attn.proj", width, width)
        self.norm2 = LayerNorm.load(weights, f"{name}.norm2", width, 1e-6)
        self.fc1 = Linear.load(weights, f"{name}.mlp.fc1", width, config.mlp_width)
        self.fc2 = Linear.load(weights, f"{name}.mlp.fc2", config.mlp_width, width)
        scales = (weights.take_optional(f"{name}.{part}.gamma", width) for part in ("ls1", "ls2"))
        self.scale1, self.scale2 = (None if scale is None else frozen(scale) for scale in scales)

    def forward(self, x_RW: torch.Tensor, plan: DashengPlan, seen_rows: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x_RW)).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        scale, n = q.shape[-1] ** -0.5, plan.segments.num_rows
        attended = packed_attention(q[:n], k[:n], v[:n], plan.segments, causal=False, scale=scale)
        if len(plan.seen):
            asked = packed_attention(
                q[n:], k[seen_rows], v[seen_rows], plan.seen, causal=False, scale=scale, last_only=True
            )
            attended = torch.cat([attended, asked])
        x_RW = x_RW + _scaled(self.proj(attended.flatten(1)), self.scale1)
        return x_RW + _scaled(self.fc2(F.gelu(self.fc1(self.norm2(x_RW)))), self.scale2)


class DashengTower(nn.Module):
    """From packed log-mel frames to groups of patches.

    Args:
        weights: gives `audio_tower.*`.
        config: sizes.
        group: patches that lie side by side in a token.
    """

    def __init__(self, weights: Weights, config: DashengConfig, *, group: int) -> None:
        super().__init__()
        self.spec: LogMelSpec = SPECS["dasheng-64"]
        self.config, self.group = config, group
        mels, width = self.spec.num_mels, config.width
        mean, var, weight, bias = (
            weights.take(f"audio_tower.init_bn.{part}", mels, dtype=torch.float32)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        slope = weight * torch.rsqrt(var + 1e-5)
        self.slope, self.offset = frozen(slope), frozen(bias - mean * slope)
        kernel = weights.take("audio_tower.patch_embed.proj.weight", width, 1, mels, PATCH)
        self.patch = Linear(
            kernel[:, 0].transpose(1, 2).flatten(1).contiguous(),
            weights.take("audio_tower.patch_embed.proj.bias", width),
        )
        times = weights.take("audio_tower.time_pos_embed", 1, width, 1, config.window)[0, :, 0].T
        self.positions = frozen(times + weights.take("audio_tower.freq_pos_embed", 1, width, 1, 1)[0, :, 0, 0])
        self.layers = nn.ModuleList(
            DashengLayer(weights, f"audio_tower.blocks.{i}", config) for i in range(config.num_layers)
        )
        self.norm = LayerNorm.load(weights, "audio_tower.norm", width, 1e-6)

    def num_tokens(self, num_samples: int) -> int:
        """Audio tokens of a clip of `num_samples`, 1 or more."""
        return max(1, (1 + max(num_samples, MIN_SAMPLES) // self.spec.hop_length) // PATCH // self.group)

    def features(self, samples_N: torch.Tensor, cu_samples: Sequence[int]) -> LogMel:
        """Log-mel frames of packed clips, short ones followed by zeros."""
        lengths = [b - a for a, b in zip(cu_samples, cu_samples[1:])]
        if min(lengths, default=MIN_SAMPLES) < MIN_SAMPLES:
            clips = [F.pad(clip, (0, max(0, MIN_SAMPLES - len(clip)))) for clip in samples_N.split(lengths)]
            samples_N, cu_samples = torch.cat(clips), Segments.of([len(clip) for clip in clips]).starts
        return logmel(samples_N, cu_samples, self.spec)

    def encode(self, mel: LogMel) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Packed groups of patches [A, group * W] and how many each clip has."""
        plan = plan_dasheng(mel.num_frames, mel.cu_frames, self.config.window, self.group)
        return self(mel.features_FM, plan), plan.num_tokens

    def forward(self, features_FM: torch.Tensor, plan: DashengPlan) -> torch.Tensor:
        """[F, M] packed frames to [A, group * W]."""
        rows = lambda index: put(index, features_FM.device)
        mel_FM = (features_FM.float() * self.slope + self.offset).to(self.patch.weight.dtype)
        taps_R4 = rows(plan.frames_R[:, None] + np.arange(PATCH))
        x = self.patch(mel_FM[taps_R4].flatten(1)) + self.positions[rows(plan.positions_R)]
        seen_rows = rows(plan.seen_rows)
        for layer in self.layers:
            x = layer(x, plan, seen_rows)
        return self.norm(x)[rows(plan.tokens_A5)].flatten(1)


def _scaled(x: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    return x if scale is None else x * scale
