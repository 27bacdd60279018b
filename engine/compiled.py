"""The row-wise parts of every layer through torch.compile: what stands before attention and what follows it.

Attention itself depends on how a batch is cut and stays as it is, so one compilation serves every batch. All layers of a
kind share it. harken's own kernels are left out inside: the compiler fuses their plain forms with the products around them.

Source: own.
"""

from typing import Any

import torch

from .models.decoder import DecoderLayer
from .models.mllm import AudioLM
from .models.whisper import TowerLayer


def compile_layers(model: AudioLM, *, backend: str = "inductor") -> int:
    """Compile the layers of a model in place; the compiling is done when they first run.

    Args:
        backend: of torch.compile; "eager" traces without compiling.

    Returns: how many layers.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, (DecoderLayer, TowerLayer))]
    compiled = lambda method: torch.compile(method, dynamic=True, fullgraph=True, backend=backend)
    for layer in layers:
        # A method of an instance: set on the instance, it hides the class's.
        changed: Any = layer
        if isinstance(layer, DecoderLayer):
            for part in (layer, layer.norm1, layer.norm2):
                part.backend = "reference"
            changed.project = compiled(layer.project)
        changed.finish = compiled(layer.finish)
    return len(layers)
