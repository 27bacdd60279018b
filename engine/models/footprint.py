"""How much memory a checkpoint takes once it is loaded, told without reading its weights.

Source: own.
"""

from pathlib import Path

import torch

from .cost import floor_bytes, weight_bytes
from .load import load_any, model_type
from .mllm import AudioLM
from .weights import checkpoint_files


def footprint(folder: Path) -> dict[str, str]:
    """Facts of a checkpoint folder by name: its size on the disk, loaded, and the least that its configuration allows.

    Raises:
        ModelError: the files do not make up a model that harken knows; the text lists every tensor at fault.
    """
    on_disk = sum(file.stat().st_size for file in checkpoint_files(folder))
    model = load_any(folder, dtype=torch.bfloat16, device="meta")
    loaded = weight_bytes(model)
    facts = {
        "model_type": model_type(folder),
        "weights on disk": _size(on_disk),
        "weights loaded": f"{_size(loaded)} in bfloat16, {_size(2 * loaded)} in float32",
    }
    if isinstance(model, AudioLM):
        floor = floor_bytes(model)
        facts["floor"] = f"{_size(floor)} in bfloat16; loaded takes {loaded / floor:.3f} times that"
    return facts


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
