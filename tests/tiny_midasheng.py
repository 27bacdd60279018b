"""Tiny MiDashengLM checkpoints with random weights, in the layout of the hub's."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from .tiny import SEED, VOCAB, randomize, write_json, write_tokenizer

WIDTH, LAYERS, HEADS, WINDOW, MELS, PATCH = 32, 2, 4, 252, 64, 4


def midasheng(folder: Path, *, layer_scale: bool = False, projector_bias: bool = True) -> Path:
    """A checkpoint with or without LayerScale in the tower and biases in the projector."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder)
    text = Qwen2Config(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    decoder = Qwen2ForCausalLM(text).eval()
    randomize(decoder)
    tensors = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    tensors |= {f"audio_encoder.{name}": tensor for name, tensor in _encoder(layer_scale).items()}
    tensors |= {f"audio_projector.net.{name}": tensor for name, tensor in _projector(projector_bias).items()}
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, folder / "model.safetensors")
    text_values = text.to_dict()
    text_values.pop("rope_parameters")
    text_values |= {
        "model_type": "qwen2_5_omni_text",
        "rope_theta": 1e6,
        "rope_scaling": {"mrope_section": [1, 2, 3], "rope_type": "default", "type": "default"},
    }
    audio_values = {
        "embed_dim": WIDTH, "depth": LAYERS, "num_heads": HEADS, "mlp_ratio": 4.0, "target_length": WINDOW * PATCH,
        "n_mels": MELS, "n_fft": 512, "win_length": 512, "hop_length": 160, "sample_rate": 16000, "f_min": 0.0,
        "f_max": 8000.0, "patch_size": [MELS, PATCH], "patch_stride": [MELS, PATCH], "center": True,
        "init_values": 0.1 if layer_scale else None,
    }  # fmt: skip
    config = {
        "architectures": ["MiDashengLMModel"],
        "model_type": "midashenglm",
        "subsample_factor": 5,
        "audio_token_id": ids["<|AUDIO|>"],
        "text_config": text_values,
        "audio_encoder_config": audio_values,
    }
    write_json(folder / "config.json", config)
    return folder


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Products with fan-in scaling, biases small, scales around 1."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            drawn[name] = noise * 1.2 / noise[0].numel() ** 0.5
        else:
            is_scale = "norm" in name and name.endswith("weight")
            drawn[name] = 0.1 * noise + (1.0 if is_scale else 0.0)
    return drawn


def _encoder(layer_scale: bool) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (WIDTH, 1, MELS, PATCH)}
    shapes |= {"patch_embed.proj.bias": (WIDTH,), "norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    for i in range(LAYERS):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.weight": (WIDTH,), f"blocks.{i}.{norm}.bias": (WIDTH,)}
        for linear, num_in, num_out in (
            ("attn.qkv", WIDTH, 3 * WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", WIDTH, 4 * WIDTH),
            ("mlp.fc2", 4 * WIDTH, WIDTH),
        ):
            shapes |= {f"blocks.{i}.{linear}.weight": (num_out, num_in), f"blocks.{i}.{linear}.bias": (num_out,)}
    tensors = _drawn(shapes, SEED)
    generator = torch.Generator().manual_seed(SEED + 1)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    tensors["time_pos_embed"] = 0.3 * draw(1, WIDTH, 1, WINDOW)
    tensors["freq_pos_embed"] = 0.3 * draw(1, WIDTH, 1, 1)
    tensors["init_bn.weight"] = 1 + 0.1 * draw(MELS)
    tensors["init_bn.bias"] = 0.1 * draw(MELS)
    tensors["init_bn.running_mean"] = -20 + 3 * draw(MELS)
    tensors["init_bn.running_var"] = 300 + 20 * draw(MELS)
    tensors["init_bn.num_batches_tracked"] = torch.tensor(7)
    tensors["front_end.0.mel_scale.fb"] = torch.rand(257, MELS, generator=generator)
    tensors["front_end.0.spectrogram.window"] = torch.hann_window(512)
    if layer_scale:
        for i in range(LAYERS):
            tensors[f"blocks.{i}.ls1.gamma"] = 0.5 + 0.2 * draw(WIDTH)
            tensors[f"blocks.{i}.ls2.gamma"] = 0.5 + 0.2 * draw(WIDTH)
    return tensors


def _projector(bias: bool) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (48, 5 * WIDTH), "2.weight": (48, 48)}
    if bias:
        shapes |= {"0.bias": (48,), "2.bias": (48,)}
    return _drawn(shapes, SEED + 2)
