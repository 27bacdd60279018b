"""The Dasheng tower as training needs it: padded windows, linear layers that LoRA can sit on, names of the checkpoint.

    mel -> BatchNorm with its kept statistics -> product over 4 frames -> + positions
    -> windows of 252 patches, each alone: x += g1 attention(norm1(x));  x += g2 mlp(norm2(x))
    -> norm -> 5 patches side by side

Which patches are seen is as in engine/models/dasheng.py.

Source: spec/recipes.md D.6.
Letters: F frames, M mels, R windows, L patches of the longest, W width, A audio tokens.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...engine.models.dasheng import PATCH, DashengConfig
from ...errors import ModelError
from ...kernels.logmel import SPECS


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_RLW: torch.Tensor, is_seen_RL: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x_RLW).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=is_seen_RL[:, None, None])
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, config: DashengConfig, has_scales: bool) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = _Attention(width, config.num_heads), _Mlp(width, config.mlp_width)
        self.ls1, self.ls2 = (_Scale(width) if has_scales else nn.Identity() for _ in range(2))

    def forward(self, x_RLW: torch.Tensor, is_seen_RL: torch.Tensor) -> torch.Tensor:
        x_RLW = x_RLW + self.ls1(self.attn(self.norm1(x_RLW), is_seen_RL))
        return x_RLW + self.ls2(self.mlp(self.norm2(x_RLW)))


class _PatchEmbed(nn.Module):
    def __init__(self, num_mels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, (num_mels, PATCH))

    def forward(self, frames_RLX: torch.Tensor) -> torch.Tensor:
        """[R, L, W] of the four frames of each patch, end to end."""
        return F.linear(frames_RLX, self.proj.weight[:, 0].transpose(1, 2).flatten(1), self.proj.bias)


class TrainableDasheng(nn.Module):
    """The tower of a checkpoint.

    Args:
        tensors: its tensors by their names in the tower.
        config: sizes.
        group: patches of an audio token.
        where: the checkpoint, for errors.

    Raises:
        ModelError: a tensor is missing, misshapen or left over.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], config: DashengConfig, *, group: int, where: str) -> None:
        super().__init__()
        self.config, self.group, self.keeps_activations = config, group, True
        num_mels, width = SPECS["dasheng-64"].num_mels, config.width
        self.init_bn = nn.BatchNorm2d(num_mels)
        self.patch_embed = _PatchEmbed(num_mels, width)
        self.time_pos_embed = nn.Parameter(torch.empty(1, width, 1, config.window))
        self.freq_pos_embed = nn.Parameter(torch.empty(1, width, 1, 1))
        has_scales = "blocks.0.ls1.gamma" in tensors
        self.blocks = nn.ModuleList(_Block(config, has_scales) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        own = {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}
        odd = sorted(n for n in own.keys() | tensors.keys() if n not in own or n not in tensors)
        odd = odd or sorted(name for name, t in own.items() if tensors[name].shape != t.shape)
        if odd:
            raise ModelError(
                f"{where}: {len(odd)} tensors of the tower are missing, misshapen or left over, first {odd[:3]}"
            )
        self.load_state_dict(dict(tensors), strict=False, assign=True)

    def num_tokens(self, num_frames: int) -> int:
        """Audio tokens of a sound."""
        return num_frames // PATCH // self.group

    def forward(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        """[A, group * W] of sounds' log-mel frames [F, M], all sounds end to end."""
        windows, counts, num_seen = self._windows(features)
        x_RLX = nn.utils.rnn.pad_sequence(windows, batch_first=True).to(self.patch_embed.proj.weight.dtype)
        places = torch.arange(x_RLX.shape[1], device=x_RLX.device)
        is_seen_RL = places < torch.tensor(num_seen, device=x_RLX.device)[:, None]
        positions_LW = (self.time_pos_embed + self.freq_pos_embed)[0, :, 0, : x_RLX.shape[1]].T
        x_RLW = self.patch_embed(x_RLX) + positions_LW
        for block in self.blocks:
            if self.keeps_activations or not self.training:
                x_RLW = block(x_RLW, is_seen_RL)
            else:
                x_RLW = checkpoint(block, x_RLW, is_seen_RL, use_reentrant=False)
        rows = iter(self.norm(x_RLW))
        tokens = []
        for frames, num_windows in zip(features, counts):
            num_patches = len(frames) // PATCH
            own = torch.cat([next(rows) for _ in range(num_windows)])[:num_patches]
            tokens.append(own[: self.num_tokens(len(frames)) * self.group].reshape(-1, self.group * own.shape[1]))
        return torch.cat(tokens)

    def _windows(self, features: Sequence[np.ndarray]) -> tuple[list[torch.Tensor], list[int], list[int]]:
        """Normed frames [patches, 4 M] of each window, how many windows each sound has, and how many patches of each are
        seen."""
        device, size = self.init_bn.weight.device, self.config.window
        bn = self.init_bn
        assert bn.running_mean is not None and bn.running_var is not None
        slope = bn.weight.float() * torch.rsqrt(bn.running_var.float() + bn.eps)
        windows: list[torch.Tensor] = []
        counts: list[int] = []
        num_seen: list[int] = []
        for frames in features:
            num_patches, seen = len(frames) // PATCH, (len(frames) - 1) // PATCH
            # A window of one patch cannot but look at itself.
            seen = num_patches if num_patches % size == 1 else seen
            mel_FM = (torch.from_numpy(frames[: num_patches * PATCH]).to(device) - bn.running_mean) * slope + bn.bias
            own = mel_FM.unflatten(0, (num_patches, PATCH)).flatten(1).split(size)
            windows += own
            counts.append(len(own))
            num_seen += [min(size, seen - i * size) for i in range(len(own))]
        return windows, counts, num_seen
