"""Inputs and the vectors that harken makes of them in float32, kept with an export so that whoever runs it can check it.

    golden.safetensors    text.<i>.vector [d]    text.<i>.token_ids [T]
                          audio.<i>.vector [d]   audio.<i>.token_ids [T]   audio.<i>.samples [n]
    manifest.json         the sentences, and which tensors belong to each

Sounds are drawn from formulas, so that no recording's licence travels with an export. Source: own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from ..audio import Waveform
from ..embedder import Embedder
from ..models.mllm import AudioLM
from ..text.template import Prompt

FILE = "golden.safetensors"
TEXTS = ("A dog barks.", "rain falls on a tin roof while thunder rolls far away", "Piano")
# Lengths that end inside a hop, inside a second and past one of the tower's windows.
DURATIONS_S = (0.83, 2.0, 3.307)
# Smallest cosine of a vector made in a dtype to the float32 one: what tells a wrong graph from rounding. With 8-bit floats
# the built-in model comes to 0.974, tiny random ones to 0.95.
MIN_COSINE = {"float32": 0.99999, "float16": 0.9999, "bfloat16": 0.999, "int8": 0.99, "float8": 0.93}


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs and their vectors."""

    # Name of the input ("text.0", "audio.2") -> its prompt; a model of two encoders has no prompt for sounds.
    prompts: dict[str, Prompt]
    # Name -> [d] float32.
    vectors: dict[str, np.ndarray]
    texts: dict[str, str]
    # Name -> samples as the model takes them, float32.
    sounds: dict[str, np.ndarray]

    def tensors(self) -> dict[str, torch.Tensor]:
        """What golden.safetensors holds, by name."""
        found = {f"{name}.vector": torch.from_numpy(vector) for name, vector in self.vectors.items()}
        found |= {f"{name}.token_ids": torch.tensor(prompt.token_ids) for name, prompt in self.prompts.items()}
        return found | {f"{name}.samples": torch.from_numpy(samples) for name, samples in self.sounds.items()}

    def save(self, folder: Path, dtype: str, more: dict[str, torch.Tensor] | None = None) -> dict[str, Any]:
        """Write golden.safetensors, with `more` tensors, and give what the manifest says of it.

        Args:
            dtype: of the export's numbers; decides how near its vectors must come.
        """
        tensors = {name: tensor.contiguous() for name, tensor in {**self.tensors(), **(more or {})}.items()}
        save_file(tensors, folder / FILE)
        items = [
            {"name": name, "kind": name.split(".")[0]}
            | ({"text": self.texts[name]} if name in self.texts else {})
            | (
                {"content": list(self.prompts[name].content), "audio_span": self.prompts[name].audio_span}
                if name in self.prompts
                else {}
            )
            for name in self.vectors
        ]
        return {"file": FILE, "min_cosine": MIN_COSINE[dtype], "items": items}


def make_golden(embedder: Embedder) -> Golden:
    """The golden inputs of a model, in float32, and their vectors."""
    recipe = embedder.recipe
    prompts: dict[str, Prompt] = {}
    vectors: dict[str, np.ndarray] = {}
    sounds: dict[str, np.ndarray] = {}
    texts = {f"text.{i}": text for i, text in enumerate(TEXTS)} if recipe.text_template is not None else {}
    if texts:
        vectors |= dict(zip(texts, embedder.encode_text(list(texts.values()))))
        prompts |= {name: embedder.text_prompt(text) for name, text in texts.items()}
    if recipe.audio_template is not None:
        rate = embedder.sample_rate_hz
        clips = {
            f"audio.{i}": embedder.load_clip(_sound(min(seconds, recipe.max_audio_s), rate, i), f"golden sound {i}")
            for i, seconds in enumerate(DURATIONS_S)
        }
        sounds = {name: clip.samples for name, clip in clips.items()}
        vectors |= dict(zip(clips, embedder.encode_clips(list(clips.values()))))
        if isinstance(embedder.model, AudioLM):
            prompts |= {name: embedder.audio_prompt(len(samples)) for name, samples in sounds.items()}
    return Golden(prompts, vectors, texts, sounds)


def _sound(seconds: float, rate_hz: int, seed: int) -> Waveform:
    """Two decaying tones over noise."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(len(t))
    tones = np.sin(2 * np.pi * (220 + 110 * seed) * t) + 0.5 * np.sin(2 * np.pi * (1730 + 400 * seed) * t)
    samples = 0.2 * tones * np.exp(-3 * (t % 0.9)) + 0.02 * noise
    return Waveform(samples.astype(np.float32), rate_hz, f"golden sound {seed}")
