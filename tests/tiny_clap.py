"""Tiny CLAP and Robust-ATR checkpoints with random weights, in the layout of the hub's."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .tiny import SEED, randomize, write_json

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
DIM = 24
_WORDS = "a dog barks in the rain while cars pass by and somebody is speaking over music"


def write_tokenizer(folder: Path) -> None:
    """RoBERTa's byte-level BPE, with its special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(t, special=True, normalized=False, lstrip=t == "<mask>") for t in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=special,
        show_progress=False,
    )
    tokenizer.train_from_iterator([_WORDS], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"})


def clap(folder: Path) -> Path:
    """A CLAP checkpoint without fusion: four stages of 64, 32, 16 and 8 patches a side, with shifted layers."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    ClapFeatureExtractor(frequency_min=50, frequency_max=14000, truncation="rand_trunc").save_pretrained(folder)
    config = ClapConfig(
        audio_config=dict(
            patch_embeds_hidden_size=4, depths=[2, 2, 1, 2], num_attention_heads=[2, 2, 4, 4], hidden_size=32
        ),
        text_config=dict(
            vocab_size=320, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=66,
        ),
        projection_dim=DIM,
    )  # fmt: skip
    model = ClapModel(config).eval()
    for part in (model.audio_model, model.text_model, model.audio_projection, model.text_projection):
        randomize(part)
    generator = torch.Generator().manual_seed(SEED)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    with torch.no_grad():
        norm = model.audio_model.audio_encoder.batch_norm
        norm.weight.copy_(1 + 0.1 * draw(64))
        norm.running_mean.copy_(-20 + 3 * draw(64))
        norm.running_var.copy_(300 + 20 * draw(64))
        for name, p in model.named_parameters():
            if "relative_position_bias_table" in name:
                p.copy_(draw(*p.shape))
            if "embeddings.weight" in name:
                p.copy_(0.5 * draw(*p.shape))
    model.save_pretrained(folder)
    return folder


def robust_atr(folder: Path, *, num_layers: int = 2, summary: str = "mean") -> Path:
    """The encoders of a tiny CLAP with projections as torch.nn.TransformerEncoderLayer draws them."""
    clap(folder)
    tensors = {
        name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith(("audio_model.", "text_model."))
    }
    torch.manual_seed(SEED)
    for name in ("audio_projection", "text_projection"):
        for i in range(num_layers):
            layer = torch.nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
            randomize(layer, SEED + i)
            tensors |= {f"{name}.layers.{i}.{key}": value.detach() for key, value in layer.state_dict().items()}
        linear = torch.nn.Linear(32, DIM)
        tensors |= {f"{name}.linear.{key}": value.detach() for key, value in linear.state_dict().items()}
    tensors["chunk_query"] = 3 * torch.randn(DIM)
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    projection = {"num_layers": num_layers, "num_heads": 4, "mlp_width": 64, "dim": DIM, "summary": summary}
    write_json(
        folder / "config.json",
        {
            "model_type": "robust_atr",
            "projection": projection,
            **{k: config[k] for k in ("audio_config", "text_config")},
        },
    )
    return folder


def wave(num_samples: int, seed: int = 0) -> np.ndarray:
    """A decaying tone over noise, float32 at 48 kHz."""
    rng = np.random.default_rng([seed, num_samples])
    t = np.arange(num_samples) / 48000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 90 * seed) * t) * np.exp(-2 * (t % 1.0))
    return (tone + 0.02 * rng.standard_normal(num_samples)).astype(np.float32)
