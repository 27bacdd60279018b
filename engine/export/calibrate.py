"""The largest activation that enters each linear layer of the decoder, for 8-bit floats.

    scale = amax / 448,   x8 = round(x / scale) to e4m3

Source: spec/trtllm.md 2.3; 448 is the largest e4m3 number.
"""

import json
from importlib.resources import files
from pathlib import Path

import torch
from torch import nn

from ...errors import InputError
from ..embedder import Embedder
from ..load import Source
from .golden import TEXTS
from .streamed import streamed_embedder

E4M3_MAX = 448.0
_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
# Where a decoder layer's linear layers take their input -> the name it has in stock_decoder.LINEARS.
_INPUTS = {"qkv": "attention_in", "o": "attention_out", "gate_up": "mlp_in", "down": "mlp_hidden"}


def activation_ranges(source: Source, sounds: Path | None) -> list[dict[str, float]]:
    """Run sounds and sentences through the model in float32.

    Args:
        sounds: a folder of sound files like those the engine will hear; None: harken's own clips and their captions.

    Returns: for each layer, the largest absolute value that entered each input of stock_decoder.LINEARS.

    Raises:
        InputError: a folder without sounds.
        AudioError: a sound that cannot be read.
    """
    ranges: dict[int, dict[str, float]] = {}

    def watch(number: int, layer: nn.Module) -> None:
        seen = ranges.setdefault(number, dict.fromkeys(_INPUTS.values(), 0.0))
        for part, name in _INPUTS.items():
            layer.get_submodule(part).register_forward_pre_hook(_Widest(seen, name))

    _run(streamed_embedder(source, watch), sounds)
    return [ranges[number] for number in sorted(ranges)]


class _Widest:
    """A hook that keeps the largest absolute value it has seen."""

    def __init__(self, seen: dict[str, float], name: str) -> None:
        self._seen, self._name = seen, name

    def __call__(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self._seen[self._name] = max(self._seen[self._name], float(args[0].abs().amax()))


def _run(embedder: Embedder, folder: Path | None) -> None:
    clips = Path(str(files("harken.engine") / "assets" / "clips"))
    captions = [clip["caption"] for clip in json.loads((clips / "clips.json").read_text())["clips"]]
    if embedder.recipe.text_template is not None:
        embedder.encode_text([*TEXTS, *captions])
    if embedder.recipe.audio_template is None:
        return
    place = clips if folder is None else folder
    sounds = sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not sounds:
        raise InputError(f"{place}: holds no sound to calibrate with; looked for {', '.join(sorted(_SUFFIXES))}")
    embedder.encode_audio(sounds)


def e4m3_scale(amax: float) -> float:
    """What numbers up to `amax` are divided by to fill e4m3's range."""
    return max(amax, 1e-12) / E4M3_MAX


def to_e4m3(x: torch.Tensor, scale: float) -> torch.Tensor:
    """x / scale in e4m3."""
    return (x.float() / scale).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn)
