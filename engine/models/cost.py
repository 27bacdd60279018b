"""What a multimodal LLM must hold and compute at the least, from the numbers of its configuration.

    bytes = width of a number x (token table + layers + tower + projector)          nothing twice, nothing that is not used
    FLOPs = 2 x weights of the products x rows + 4 x heads x width x (pairs of rows that see each other)

A causal sequence of n rows has n^2 / 2 such pairs. Norms, activations and the front end are left out: they are not products.

Source: spec/models.md section 3 (formulae, checked against its tables).
"""

from collections.abc import Sequence

from torch import nn

from .config import DecoderConfig, TowerConfig
from .dasheng import PATCH, DashengConfig, DashengTower
from .layers import Linear
from .mllm import AudioLM
from .whisper import WhisperTower, num_positions


def decoder_flops(config: DecoderConfig, lengths: Sequence[int], *, causal: bool = True) -> float:
    """Of prompts of these lengths, every row through every layer."""
    c = config
    pairs = sum(n * n for n in lengths) / (2 if causal else 1)
    return 2.0 * _layer_products(c) * c.num_layers * sum(lengths) + 4.0 * _q_width(c) * c.num_layers * pairs


def whisper_flops(config: TowerConfig, num_frames: int, window: int | None) -> float:
    """Of a clip of so many frames, without what follows the tower's layers; `window` as in plan_tower."""
    c, rows = config, num_positions(num_frames)
    seen = rows if window is None else min(window // 2, rows)
    products = c.num_layers * (4 * c.width**2 + 2 * c.width * c.mlp_width) * rows
    convolutions = 3 * c.num_mels * c.width * num_frames + 3 * c.width**2 * rows
    return 2.0 * (products + convolutions) + 4.0 * c.width * c.num_layers * rows * seen


def dasheng_flops(config: DashengConfig, num_frames: int, num_mels: int) -> float:
    """Of a clip of so many frames, without the projector."""
    c, rows = config, num_frames // PATCH
    products = c.num_layers * (4 * c.width**2 + 2 * c.width * c.mlp_width) * rows + PATCH * num_mels * c.width * rows
    return 2.0 * products + 4.0 * c.width * c.num_layers * rows * min(c.window, rows)


def encode_flops(model: AudioLM, nums_samples: Sequence[int], lengths: Sequence[int], *, causal: bool = True) -> float:
    """Of clips of so many samples in prompts of these lengths, from log-mel frames to hidden states."""
    tower, total = model.tower, decoder_flops(model.decoder.config, lengths, causal=causal)
    for n in nums_samples:
        frames = -(-n // tower.spec.hop_length)
        if isinstance(tower, WhisperTower):
            total += whisper_flops(tower.config, frames, tower.window)
        elif isinstance(tower, DashengTower):
            total += dasheng_flops(tower.config, 1 + n // tower.spec.hop_length, tower.spec.num_mels)
        after = [m for m in (model.projector, getattr(tower, "proj", None)) if m is not None]
        linears = [m for part in after for m in part.modules() if isinstance(m, Linear)]
        total += 2.0 * sum(m.weight.numel() for m in linears) * tower.num_tokens(n)
    return total


def floor_bytes(model: AudioLM) -> int:
    """Bytes of the weights that the configuration calls for, in the model's dtype; biases and norms included."""
    c = model.decoder.config
    biases = _q_width(c) + 2 * c.num_kv_heads * c.head_width
    weights = c.vocab_size * c.width + c.num_layers * (_layer_products(c) + biases + 2 * c.width) + c.width
    if isinstance(model.tower, WhisperTower):
        t = model.tower.config
        weights += 3 * t.num_mels * t.width + 3 * t.width**2 + 2 * t.width + t.max_positions * t.width
        weights += t.num_layers * _tower_layer(t.width, t.mlp_width) + 2 * t.width
    elif isinstance(model.tower, DashengTower):
        d = model.tower.config
        weights += PATCH * model.tower.spec.num_mels * d.width + (2 + d.window) * d.width
        weights += d.num_layers * _tower_layer(d.width, d.mlp_width) + 2 * d.width
    for part in (model.projector, getattr(model.tower, "proj", None)):
        weights += 0 if part is None else sum(p.numel() for p in part.parameters())
    return weights * model.dtype.itemsize


def weight_bytes(model: nn.Module) -> int:
    """Bytes that a model's weights and tables take as it stands."""
    return sum(tensor.numel() * tensor.itemsize for tensor in (*model.parameters(), *model.buffers()))


def _q_width(c: DecoderConfig) -> int:
    return c.num_heads * c.head_width


def _layer_products(c: DecoderConfig) -> int:
    return c.width * (2 * _q_width(c) + 2 * c.num_kv_heads * c.head_width) + 3 * c.width * c.mlp_width


def _tower_layer(width: int, mlp_width: int) -> int:
    """Products, their biases, two norms."""
    return 4 * width**2 + 2 * width * mlp_width + 4 * width + mlp_width + width + 4 * width
