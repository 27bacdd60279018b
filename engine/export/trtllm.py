"""What both exports for TensorRT-LLM have in common: the decoder's dtype, the head that follows it, the programs that run it.

Source: own; spec/trtllm.md 3.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ...errors import InputError
from ..embedder import Embedder
from ..load import Source
from ..models.heads import EPS, Head
from ..models.mllm import AudioLM
from .golden import Golden, make_golden
from .merged import MergedCheckpoint
from .stock_decoder import StockDecoder
from .streamed import streamed_embedder

HEAD_FILE = "embed_head.safetensors"
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Parts:
    """A model as TensorRT-LLM takes it."""

    embedder: Embedder
    decoder: StockDecoder
    dtype: str
    golden: Golden


def parts_of(source: Source, dtype: str | None) -> Parts:
    """The parts of a model.

    Args:
        dtype: "float16" or "bfloat16"; None: the checkpoint's, bfloat16 if that is float32.

    Raises:
        InputError: another dtype.
        ModelError: a model or recipe that TensorRT-LLM does not run.
    """
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(f"export: TensorRT-LLM takes dtype float16 or bfloat16, got {dtype!r}")
    if dtype is None:
        merged = MergedCheckpoint(source.folder, source.adapter)
        dtypes = {kind for specs in merged.files.values() for kind, _ in specs.values()}
        dtype = "float16" if torch.float16 in dtypes and torch.bfloat16 not in dtypes else "bfloat16"
    embedder = streamed_embedder(source)
    decoder = StockDecoder.of(source, embedder, _DTYPES[dtype])
    return Parts(embedder, decoder, dtype, make_golden(embedder))


def write_head(embedder: Embedder, folder: Path) -> None:
    """embed_head.safetensors: the heads in float32, and as metadata how states are pooled."""
    recipe = embedder.recipe
    heads: dict[str, Head | None] = {"audio": embedder.audio_head, "text": embedder.text_head}
    if recipe.audio_head == recipe.text_head:
        heads = {"any": embedder.audio_head}
    tensors: dict[str, torch.Tensor] = {}
    for kind, head in heads.items():
        if head is None:
            continue
        parts = {
            "linear.weight": head.linear, "linear.bias": head.bias, "norm.weight": head.norm_weight,
            "norm.bias": head.norm_bias,
        }  # fmt: skip
        tensors |= {f"{kind}.{name}": t.detach().float().contiguous() for name, t in parts.items() if t is not None}
    settings = {
        "pooling": recipe.pooling,
        "normalize_before_head": recipe.normalize_before_head,
        "normalize": recipe.normalize,
        "kinds": list(heads),
        "eps": EPS,
    }
    # A file of metadata alone is no safetensors file everywhere.
    tensors = tensors or {"none": torch.zeros(1)}
    save_file(tensors, folder / HEAD_FILE, metadata={"format": "pt", "settings": json.dumps(settings)})


def golden_rows(parts: Parts) -> dict[str, torch.Tensor]:
    """For every golden input the rows [T, W] float32 that enter the decoder, as `<name>.inputs`."""
    model, golden = parts.embedder.model, parts.golden
    assert isinstance(model, AudioLM)
    found = {}
    with torch.inference_mode():
        for name, prompt in golden.prompts.items():
            rows = None
            if name in golden.sounds:
                rows, _ = model.audio_rows(model.features([golden.sounds[name]]))
            found[f"{name}.inputs"] = model.embed([prompt], rows)[0]
    return found


def copy_programs(folder: Path, names: Sequence[str]) -> None:
    """Programs of `standalone/`, as they are."""
    place = files("harken.engine") / "export" / "standalone"
    for name in names:
        shutil.copyfile(Path(str(place / name)), folder / name)


def sizes(decoder: StockDecoder) -> dict[str, Any]:
    """What a manifest says of the decoder."""
    c = decoder.config
    return {
        "num_layers": c.num_layers,
        "num_heads": c.num_heads,
        "num_kv_heads": c.num_kv_heads,
        "head_width": c.head_width,
        "mlp_width": c.mlp_width,
        "vocab_size": c.vocab_size,
        "rope_theta": c.rope_theta,
    }
