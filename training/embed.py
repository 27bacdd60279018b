"""Vectors of a split's clips and captions, from cached features.

Source: own.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import load_file

from ..engine.convert.mini import build_mini
from ..engine.recipes import get_recipe
from . import lora
from .data import Clip
from .evaluate import different_captions
from .features import FeatureCache
from .model import TrainableEmbedder


@torch.no_grad()
def embed_clips(
    model: TrainableEmbedder, clips: Sequence[Clip], features: FeatureCache, *, heads: bool = True
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Unit vectors of the clips, their different captions, and the captions' vectors; without heads the pooled states."""
    captions = different_captions(clips)
    audio = model.audio_states([features[clip.id] for clip in clips])
    text = model.text_states(captions)
    if heads:
        audio, text = model.audio_head(audio), model.text_head(text)
    unit = lambda x: torch.nn.functional.normalize(x, dim=-1).numpy()
    return unit(audio), captions, unit(text)


def load_adapter(model: TrainableEmbedder, folder: str) -> None:
    """Put a saved adapter and its heads into the model."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model.peft, load_file(f"{folder}/adapter_model.safetensors"))
    heads = load_file(f"{folder}/heads.safetensors")
    model.load_state_dict({k: v.float() for k, v in heads.items()}, strict=False)
    lora.merge(model)


def embed_split(clips: Sequence[Clip], args: argparse.Namespace) -> tuple[np.ndarray, list[str], np.ndarray]:
    """What the command line of `evaluate` asks for."""
    torch.set_num_threads(args.threads)
    model = TrainableEmbedder(args.model or build_mini(), get_recipe("harken-mini"))
    if args.adapter:
        load_adapter(model, str(args.adapter))
    features = FeatureCache(args.features or args.data / "features")
    return embed_clips(model, clips, features, heads=args.adapter is not None)
