"""Qwen2-Audio: a Whisper tower over whole clips, one linear projector, a Qwen2 or Llama decoder.

Source: spec/models.md 1.5; checked against transformers' Qwen2AudioForConditionalGeneration.
"""

from pathlib import Path
from typing import Any

from .config import decoder_config, read_json, tower_config
from .decoder import Decoder
from .frontend import whisper_frontend
from .layers import Linear
from .mllm import AudioLM
from .weights import Weights
from .whisper import WhisperTower


def build(folder: Path, config: dict[str, Any], weights: Weights) -> AudioLM:
    """Build the model of a Qwen2-Audio checkpoint."""
    text = decoder_config(config.get("text_config", {}), str(folder / "config.json"))
    audio = tower_config(config.get("audio_config", {}))
    spec, max_samples = whisper_frontend(read_json(folder / "preprocessor_config.json"), audio.num_mels, str(folder))
    tower = WhisperTower(
        weights, audio, spec=spec, max_samples=max_samples, window=None, final_norm="layer_norm", out_width=None
    )
    projector = Linear.load(weights, "projector", audio.width, text.width, bias=True)
    audio_token_id = int(config.get("audio_token_index", config.get("audio_token_id", 151646)))
    return AudioLM(tower, projector, Decoder(weights, text), audio_token_id)
