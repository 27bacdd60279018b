"""Qwen2.5-Omni's thinker: a Whisper tower over segments of 2 s, projected inside the tower, and a Qwen2 decoder.

Loads full checkpoints, thinker-only ones and omni-embed-nemotron's; the talker, the vocoder and the vision tower stay on
the disk. Whether the decoder looks both ways is the recipe's to say, not the checkpoint's.

Source: spec/models.md 1.2 and 1.3; checked against transformers' Qwen2_5OmniThinkerForConditionalGeneration.
"""

from pathlib import Path
from typing import Any

from .config import decoder_config, read_json, tower_config
from .decoder import Decoder
from .frontend import whisper_frontend
from .mllm import AudioLM
from .weights import Weights
from .whisper import WhisperTower


def build(folder: Path, config: dict[str, Any], weights: Weights) -> AudioLM:
    """Build the model of a Qwen2.5-Omni checkpoint."""
    thinker = config.get("thinker_config", config)
    text = decoder_config(
        {"model_type": "qwen2_5_omni_text", **thinker.get("text_config", {})}, str(folder / "config.json")
    )
    audio_values = thinker.get("audio_config", {})
    audio = tower_config(audio_values)
    spec, max_samples = whisper_frontend(read_json(folder / "preprocessor_config.json"), audio.num_mels, str(folder))
    tower = WhisperTower(
        weights,
        audio,
        spec=spec,
        max_samples=max_samples,
        window=2 * int(audio_values.get("n_window", 100)),
        final_norm="ln_post",
        out_width=text.width,
    )
    audio_token_id = int(thinker.get("audio_token_index", thinker.get("audio_token_id", 151646)))
    return AudioLM(tower, None, Decoder(weights, text), audio_token_id)
