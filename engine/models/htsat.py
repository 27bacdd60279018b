"""HTSAT, the Swin transformer over log-mel frames that LAION-CLAP and Robust-ATR hear with. Always 10 s at a time.

    clip, repeated and zero-filled to 10 s -> mel [1001, 64] -> a mel + b (BatchNorm) -> bicubic to [1024, 64]
    -> four quarters of time stacked on frequency: [256, 256] -> 4 x 4 patches -> norm
    -> stages: windows of 8 x 8, every second layer shifted by 4;  x += attention(norm1(x));  x += mlp(norm2(x))
       between stages 2 x 2 neighbours side by side -> norm -> half as wide -> norm -> [2 frequencies, 32 times]

Ten seconds are what the model was trained on: the repetition is heard, so it is not padding that could be left out.

Source: spec/recipes.md E.3; checked against transformers' ClapAudioModel without fusion.
Letters: C clips, T times, Y X rows and columns of patches, P patches of a window, W width, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import ModelError
from ...kernels.logmel import SPECS, LogMel, LogMelSpec, logmel
from .layers import LayerNorm, Linear, frozen
from .weights import Weights

NUM_SAMPLES = 480000


@dataclass(frozen=True, slots=True)
class HTSATConfig:
    """Sizes of the tower."""

    width: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: int
    # Sides of the image and of a patch.
    image: int
    patch: int
    mlp_ratio: float
    eps: float

    @classmethod
    def read(cls, config: dict[str, Any], where: str) -> "HTSATConfig":
        """From the `audio_config` of a CLAP checkpoint.

        Raises:
            ModelError: fusion, or sizes that do not tile.
        """
        wanted = dict(
            enable_fusion=False, num_mel_bins=64, hidden_act="gelu", patch_embed_input_channels=1, qkv_bias=True,
            enable_patch_layer_norm=True,
        )  # fmt: skip
        wrong = {key: config[key] for key, value in wanted.items() if config.get(key, value) != value}
        patch = config.get("patch_size", 4)
        patch = patch if isinstance(patch, int) else patch[0]
        if list(config.get("patch_stride", [patch, patch])) != [patch, patch]:
            wrong["patch_stride"] = config["patch_stride"]
        if wrong:
            raise ModelError(f"{where}: audio_config has {wrong}; wanted {wanted} and patches that do not overlap")
        made = cls(
            width=int(config.get("patch_embeds_hidden_size", 96)),
            depths=tuple(config.get("depths", (2, 2, 6, 2))),
            num_heads=tuple(config.get("num_attention_heads", (4, 8, 16, 32))),
            window=int(config.get("window_size", 8)),
            image=int(config.get("spec_size", 256)),
            patch=patch,
            mlp_ratio=float(config.get("mlp_ratio", 4.0)),
            eps=float(config.get("layer_norm_eps", 1e-5)),
        )
        smallest = made.image // made.patch // 2 ** (len(made.depths) - 1)
        if smallest % made.window or smallest % (made.image // 64):
            raise ModelError(
                f"{where}: the last stage has {smallest} x {smallest} patches; wanted a multiple of window_size "
                f"{made.window} and of spec_size / 64 = {made.image // 64}"
            )
        return made

    @property
    def out_width(self) -> int:
        return self.width * 2 ** (len(self.depths) - 1)


class SwinLayer(nn.Module):
    """One layer of a stage; its bias [Y X / P, H, P, P] holds the relative positions, and where a shift wraps, -100."""

    def __init__(self, weights: Weights, name: str, config: HTSATConfig, stage: int, shifted: bool) -> None:
        super().__init__()
        width, side = config.width * 2**stage, config.image // config.patch // 2**stage
        self.num_heads, self.window = config.num_heads[stage], config.window
        self.shift = config.window // 2 if shifted and side > config.window else 0
        attn = f"{name}.attention.self"
        self.norm1 = LayerNorm.load(weights, f"{name}.layernorm_before", width, config.eps)
        self.qkv = Linear.load_stacked(weights, [f"{attn}.{p}" for p in ("query", "key", "value")], width, [width] * 3)
        self.out = Linear.load(weights, f"{name}.attention.output.dense", width, width)
        self.norm2 = LayerNorm.load(weights, f"{name}.layernorm_after", width, config.eps)
        hidden = int(config.mlp_ratio * width)
        self.fc1 = Linear.load(weights, f"{name}.intermediate.dense", width, hidden)
        self.fc2 = Linear.load(weights, f"{name}.output.dense", hidden, width)
        table = weights.take(f"{attn}.relative_position_bias_table", (2 * config.window - 1) ** 2, self.num_heads)
        bias = table[_relative_positions(config.window).to(table.device)].permute(2, 0, 1)
        wraps = _wraps(side, config.window, self.shift).to(table.device)
        self.bias = frozen(bias - 100.0 * wraps[:, None].to(bias))

    def forward(self, x_CYXW: torch.Tensor) -> torch.Tensor:
        clips, side = x_CYXW.shape[:2]
        y = self.norm1(x_CYXW).roll((-self.shift, -self.shift), (1, 2))
        qkv = _windows(self.qkv(y), self.window).unflatten(-1, (3, self.num_heads, -1))
        # [C, windows x H, P, D]: the bias is the same for every clip.
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias.flatten(0, 1)[None])
        attended = attended.unflatten(1, (-1, self.num_heads)).transpose(2, 3).flatten(3)
        y = _from_windows(self.out(attended), self.window, side).roll((self.shift, self.shift), (1, 2))
        x_CYXW = x_CYXW + y
        return x_CYXW + self.fc2(F.gelu(self.fc1(self.norm2(x_CYXW))))


class PatchMerging(nn.Module):
    """Four neighbours become one patch, twice as wide."""

    def __init__(self, weights: Weights, name: str, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm.load(weights, f"{name}.norm", 4 * width)
        self.reduction = Linear.load(weights, f"{name}.reduction", 4 * width, 2 * width)

    def forward(self, x_CYXW: torch.Tensor) -> torch.Tensor:
        corners = [x_CYXW[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class HTSAT(nn.Module):
    """From clips of at most 10 s to [frequencies, times] states.

    Args:
        weights: gives `audio_tower.*`.
        config: sizes.
    """

    def __init__(self, weights: Weights, config: HTSATConfig) -> None:
        super().__init__()
        self.spec: LogMelSpec = SPECS["htsat-64"]
        self.config = config
        mels = self.spec.num_mels
        mean, var, weight, bias = (
            weights.take(f"audio_tower.batch_norm.{part}", mels, dtype=torch.float32)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        slope = weight * torch.rsqrt(var + 1e-5)
        self.slope, self.offset = frozen(slope), frozen(bias - mean * slope)
        kernel = weights.take("audio_tower.patch_embed.proj.weight", config.width, 1, config.patch, config.patch)
        self.patch = Linear(kernel.flatten(1), weights.take("audio_tower.patch_embed.proj.bias", config.width))
        self.patch_norm = LayerNorm.load(weights, "audio_tower.patch_embed.norm", config.width)
        layers: list[nn.Module] = []
        for stage, depth in enumerate(config.depths):
            name = f"audio_tower.layers.{stage}"
            layers += [SwinLayer(weights, f"{name}.blocks.{i}", config, stage, bool(i % 2)) for i in range(depth)]
            if stage + 1 < len(config.depths):
                layers.append(PatchMerging(weights, f"{name}.downsample", config.width * 2**stage))
        self.layers = nn.ModuleList(layers)
        self.norm = LayerNorm.load(weights, "audio_tower.norm", config.out_width)

    def num_tokens(self, num_samples: int) -> int:
        """States in time, whatever the length."""
        c = self.config
        return c.image // 64 * (c.image // c.patch) // 2 ** (len(c.depths) - 1)

    def features(self, samples_N: torch.Tensor, cu_samples: Sequence[int]) -> LogMel:
        """Log-mel frames of packed clips, each repeated as often as it fits into 10 s and followed by zeros.

        Raises:
            ModelError: a clip is longer than 10 s.
        """
        lengths = [b - a for a, b in zip(cu_samples, cu_samples[1:])]
        if max(lengths) > NUM_SAMPLES:
            raise ModelError(f"a clip of {max(lengths)} samples reached HTSAT, wanted chunks of at most {NUM_SAMPLES}")
        clips = [clip.repeat(NUM_SAMPLES // len(clip)) for clip in samples_N.split(lengths)]
        filled = torch.cat([F.pad(clip, (0, NUM_SAMPLES - len(clip))) for clip in clips])
        return logmel(filled, [i * NUM_SAMPLES for i in range(len(clips) + 1)], self.spec)

    def forward(self, mel: LogMel) -> torch.Tensor:
        """[C, frequencies, times, W] states of C clips."""
        mel_CTM = (mel.features_FM.float() * self.slope + self.offset).unflatten(0, (len(mel.num_frames), -1))
        return self.states(self.stretched(mel_CTM))

    def stretched(self, mel_CTM: torch.Tensor) -> torch.Tensor:
        """Frames [C, T, M] drawn out to as many as the image has columns, [C, image * image / M, M]."""
        size = (self.config.image**2 // mel_CTM.shape[-1], mel_CTM.shape[-1])
        return F.interpolate(mel_CTM[:, None], size, mode="bicubic", align_corners=True)[:, 0]

    def states(self, mel_CTM: torch.Tensor) -> torch.Tensor:
        """The rest of `forward`, from stretched frames."""
        c = self.config
        quarters = c.image // mel_CTM.shape[-1]
        image = mel_CTM.unflatten(1, (quarters, c.image)).transpose(2, 3).flatten(1, 2)
        x = self.patch_norm(self.patch(_patches(image, c.patch).to(self.patch.weight.dtype)))
        for layer in self.layers:
            x = layer(x)
        # Rows of patches are (quarter, frequency): the quarters of time come side by side again.
        return self.norm(x).unflatten(1, (quarters, -1)).transpose(1, 2).flatten(2, 3)


def _patches(image_CYX: torch.Tensor, patch: int) -> torch.Tensor:
    """[C, Y, X, patch * patch] the points of every patch."""
    return image_CYX.unflatten(2, (-1, patch)).unflatten(1, (-1, patch)).transpose(2, 3).flatten(3)


def _windows(x_CYXW: torch.Tensor, window: int) -> torch.Tensor:
    """[C, windows, P, W]"""
    return x_CYXW.unflatten(2, (-1, window)).unflatten(1, (-1, window)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _from_windows(x: torch.Tensor, window: int, side: int) -> torch.Tensor:
    """[C, side, side, W]"""
    grid = x.unflatten(2, (window, window)).unflatten(1, (side // window, side // window))
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _relative_positions(window: int) -> torch.Tensor:
    """[P, P] row of the bias table for every pair of patches in a window."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y + window - 1) * (2 * window - 1) + x[:, None] - x + window - 1


def _wraps(side: int, window: int, shift: int) -> torch.Tensor:
    """[windows, P, P] bool: pairs that are neighbours only because a shift by `shift` wraps around the image."""
    index = torch.arange(side)
    region = (index >= side - window).long() + (index >= side - shift).long() if shift else torch.zeros(side).long()
    regions = _windows((3 * region[:, None] + region)[None, :, :, None], window)[0, :, :, 0]
    return regions[:, :, None] != regions[:, None, :]
