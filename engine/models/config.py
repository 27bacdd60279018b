"""The numbers of a checkpoint's config.json, checked and with the defaults that hub files leave out.

Source: spec/models.md sections 1 and 5; spec/recipes.md A.1.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A Llama or Qwen2 decoder."""

    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    mlp_width: int
    vocab_size: int
    rms_eps: float
    rope_theta: float
    tied_head: bool


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """A Whisper-type audio tower."""

    num_mels: int
    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    max_positions: int


# What transformers' config classes assume when a hub file leaves a key out (Qwen2Config is the text config of Qwen2-Audio).
_TEXT_DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen2": dict(
        hidden_size=4096, intermediate_size=22016, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32,
        vocab_size=151936, rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=False,
    ),
    "qwen2_5_omni_text": dict(
        hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
        vocab_size=152064, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=False,
    ),
    "llama": dict(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=None,
        vocab_size=32000, rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=False,
    ),
}  # fmt: skip
_TOWER_DEFAULTS: dict[str, Any] = dict(
    num_mel_bins=128, d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120,
    max_source_positions=1500,
)  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint folder; a ModelError that names the file otherwise."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent}: {path.name} is missing; a Hugging Face checkpoint folder was wanted"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path}: wanted a JSON object, got {type(values).__name__}")
    return values


def decoder_config(text_config: dict[str, Any], where: str) -> DecoderConfig:
    """Read a text config of type qwen2, llama or qwen2_5_omni_text (a qwen2 of other sizes)."""
    kind = text_config.get("model_type", "qwen2")
    defaults = _TEXT_DEFAULTS.get(kind, _TEXT_DEFAULTS["qwen2"])
    values: dict[str, Any] = {**defaults, **text_config}
    if text_config.get("hidden_act", "silu") != "silu":
        raise ModelError(f"{where}: hidden_act is {text_config['hidden_act']!r}, only silu decoders are known")
    scaling = text_config.get("rope_scaling") or text_config.get("rope_parameters") or {}
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    if rope_type not in ("default", "mrope"):
        raise ModelError(f"{where}: rope type {rope_type!r} is not known; wanted default or mrope")
    theta = text_config.get("rope_theta") or scaling.get("rope_theta") or defaults["rope_theta"]
    num_heads = int(values["num_attention_heads"])
    return DecoderConfig(
        width=int(values["hidden_size"]),
        num_layers=int(values["num_hidden_layers"]),
        num_heads=num_heads,
        num_kv_heads=int(values["num_key_value_heads"] or num_heads),
        head_width=int(values.get("head_dim") or int(values["hidden_size"]) // num_heads),
        mlp_width=int(values["intermediate_size"]),
        vocab_size=int(values["vocab_size"]),
        rms_eps=float(values["rms_norm_eps"]),
        rope_theta=float(theta),
        tied_head=bool(values["tie_word_embeddings"]),
    )


def tower_config(audio_config: dict[str, Any]) -> TowerConfig:
    get = lambda key: int(audio_config.get(key, _TOWER_DEFAULTS[key]))
    return TowerConfig(
        num_mels=get("num_mel_bins"),
        width=get("d_model"),
        num_layers=get("encoder_layers"),
        num_heads=get("encoder_attention_heads"),
        mlp_width=get("encoder_ffn_dim"),
        max_positions=get("max_source_positions"),
    )
