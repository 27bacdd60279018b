"""From a checkpoint folder to a model that runs.

Every architecture is one module with a function `build(folder, config, weights)`.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

from ...errors import ModelError
from .adapter import open_adapter
from .config import read_json
from .dual import DualEncoder
from .mllm import AudioLM
from .weights import Weights

# model_type of config.json -> the module that builds it.
ARCHITECTURES = {
    "clap": "dual",
    "midashenglm": "midasheng",
    "nvomniembed": "qwen_omni",
    "qwen2_5_omni": "qwen_omni",
    "qwen2_5_omni_thinker": "qwen_omni",
    "qwen2_audio": "qwen2_audio",
    "robust_atr": "dual",
}


def model_type(folder: Path) -> str:
    """The `model_type` of a checkpoint folder.

    Raises:
        ModelError: no config.json, or a model that harken cannot run.
    """
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in ARCHITECTURES:
        raise ModelError(f"{folder}: model_type is {kind!r}; harken runs {sorted(ARCHITECTURES)}")
    return kind


def load_any(
    folder: str | Path,
    *,
    adapter: str | Path | Sequence[str | Path] | None = None,
    dtype: torch.dtype,
    device: torch.device | str,
) -> AudioLM | DualEncoder:
    """Read a checkpoint in Hugging Face layout, with an adapter merged in, or several one upon another.

    Raises:
        ModelError: the files do not make up a model that harken knows; the text lists every tensor at fault.
    """
    folder = Path(folder)
    module = import_module(f".{ARCHITECTURES[model_type(folder)]}", __package__)
    weights = Weights(folder, adapter=None if adapter is None else open_adapter(adapter), dtype=dtype, device=device)
    model = module.build(folder, read_json(folder / "config.json"), weights)
    weights.finish()
    return model


def load_model(
    folder: str | Path,
    *,
    adapter: str | Path | Sequence[str | Path] | None = None,
    dtype: torch.dtype,
    device: torch.device | str,
) -> AudioLM:
    """`load_any` for those who want a multimodal LLM; a model of another kind is a ModelError."""
    kind = model_type(Path(folder))
    if ARCHITECTURES[kind] == "dual":
        raise ModelError(f"{folder}: is a {kind}, a model of two encoders; a multimodal LLM was wanted")
    model = load_any(folder, adapter=adapter, dtype=dtype, device=device)
    assert isinstance(model, AudioLM)
    return model
