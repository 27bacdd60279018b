"""The folder that libharken loads: weights in the order its products read them, tokenizer, recipe and sizes.

    manifest.json          "model" and "recipe": everything that is no tensor; csrc/BUNDLE.md
    weights.safetensors    a linear layer W [n, k] as panels [ceil(n / 16), k, 16], and its bias [n]; int8 panels have
                           scales, one for SPAN neighbours of a row of W; norms, biases and heads in float32
    tokenizer.json         the checkpoint's
    golden.safetensors     golden.py

The adapter is merged, queries, keys and values are one layer, and so are gate and up; nothing is rearranged at load.

Source: own.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError, ModelError
from ..embedder import Embedder
from ..load import load
from ..models.heads import Head
from ..models.layers import LayerNorm, Linear, RMSNorm
from ..models.mllm import AudioLM
from ..models.whisper import WhisperTower
from ..recipes import Recipe
from .folder import write_folder
from .golden import make_golden
from .manifest import write_manifest
from .tensor_file import Planned, write_planned

BUNDLE_VERSION = 1
WEIGHTS = "weights.safetensors"
PANEL = 16
# Neighbouring numbers of a row of int8 that share a scale.
SPAN = 64
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}
# Layers that stay in float32 when the rest is rounded to 8 bits: they are few and stand where errors spread.
_NEVER_INT8 = ("tower.conv", "tower.proj", "projector")


def export_bundle(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str = "float32",
) -> Path:
    """Write the bundle of a model.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make.
        dtype: of the weights: float32, bfloat16, float16, or int8 (a scale for each 64 numbers of a row); libharken
            computes in float32.

    Raises:
        InputError: an unknown dtype.
        ModelError: a model without a Whisper-type tower and a decoder, or a recipe that libharken does not know.
        OutputError: `out` exists or cannot be written.
    """
    if dtype not in DTYPES:
        raise InputError(f"a bundle's dtype is one of {', '.join(DTYPES)}; got {dtype!r}")
    embedder = load(model, recipe=recipe, adapter=adapter, device="cpu", dtype="float32")
    _check(embedder)
    if dtype != "float32":
        embedder.fingerprint = replace(embedder.fingerprint, dtype=f"{dtype} weights")
    planned = list(_tensors(embedder, DTYPES[dtype]))

    def build(folder: Path) -> None:
        write_planned(folder / WEIGHTS, planned, {"format": "harken-bundle"})
        shutil.copyfile(embedder.tokenizer.path, folder / "tokenizer.json")
        golden = make_golden(embedder).save(folder, dtype)
        facts = {"bundle_version": BUNDLE_VERSION, "dtype": dtype, "model": _model(embedder), "golden": golden}
        write_manifest(folder, "bundle", embedder, facts)

    return write_folder(Path(out), build, num_bytes=sum(tensor.num_bytes for tensor in planned))


def _check(embedder: Embedder) -> None:
    model, recipe = embedder.model, embedder.recipe
    if not isinstance(model, AudioLM) or not isinstance(model.tower, WhisperTower):
        raise ModelError(
            f"{embedder.folder}: libharken runs a Whisper-type tower and a decoder; this is a {type(model).__name__} with "
            f"a {type(model.tower).__name__}"
        )
    if model.projector is not None and not isinstance(model.projector, Linear):
        raise ModelError(
            f"{embedder.folder}: libharken knows linear projectors; this is a {type(model.projector).__name__}"
        )
    if recipe.long_audio == "chunk-attention":
        raise ModelError(f"recipe {recipe.name!r} attends to chunks, which libharken does not")


def _model(embedder: Embedder) -> dict[str, Any]:
    """What the manifest says of the model."""
    model = embedder.model
    tower = model.tower
    assert isinstance(tower, WhisperTower)
    first: Any = tower.layers[0]
    return {
        "tower": {
            "front_end": tower.spec.name,
            "width": tower.norm.weight.shape[0],
            "num_layers": len(tower.layers),
            "num_heads": first.num_heads,
            "mlp_width": first.fc1.weight.shape[0],
            "max_positions": tower.positions.shape[0],
            "max_samples": tower.max_samples,
            "window": tower.window,
            "norm_eps": tower.norm.eps,
            "projects": tower.proj is not None,
        },
        "projects": model.projector is not None,
        "decoder": asdict(model.decoder.config),
        "audio_token_id": model.audio_token_id,
        "fingerprint_id": embedder.fingerprint.id,
    }


def _tensors(embedder: Embedder, dtype: torch.dtype) -> Iterator[Planned]:
    modules = dict(embedder.model.named_modules())
    for name, module in modules.items():
        if isinstance(module, Linear):
            exact = dtype == torch.int8 and name.startswith(_NEVER_INT8)
            yield from _linear(name, module.weight, module.bias, torch.float32 if exact else dtype)
        elif isinstance(module, (LayerNorm, RMSNorm)):
            yield from (_plain(f"{name}.{part}", tensor) for part, tensor in module.named_parameters())
    yield _plain("tower.positions", embedder.model.tower.positions)  # type: ignore[attr-defined]
    yield from _rows("decoder.embed_tokens", embedder.model.decoder.embed_tokens, dtype)
    for side, head in (("audio", embedder.audio_head), ("text", embedder.text_head)):
        if head is not None:
            yield from _head(f"heads.{side}", head)


def _head(name: str, head: Head) -> Iterator[Planned]:
    yield from _linear(f"{name}.linear", head.linear, head.bias, torch.float32)
    if head.norm_weight is not None and head.norm_bias is not None:
        yield _plain(f"{name}.norm.weight", head.norm_weight)
        yield _plain(f"{name}.norm.bias", head.norm_bias)


def _plain(name: str, tensor: torch.Tensor) -> Planned:
    return Planned(name, torch.float32, tuple(tensor.shape), lambda: tensor.float())


def _linear(name: str, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> Iterator[Planned]:
    num_out, num_in = weight.shape
    num_panels = -(-num_out // PANEL)

    def panels() -> torch.Tensor:
        rows = torch.zeros(num_panels * PANEL, num_in, dtype=dtype)
        rows[:num_out] = _rounded(_spans(weight), dtype).flatten(1)[:, :num_in]
        return rows.view(num_panels, PANEL, num_in).transpose(1, 2)

    yield Planned(f"{name}.panels", dtype, (num_panels, num_in, PANEL), panels)
    if dtype == torch.int8:
        padded = lambda: torch.nn.functional.pad(_scales(_spans(weight)).T, (0, num_panels * PANEL - num_out))
        yield Planned(f"{name}.scales", torch.float32, (-(-num_in // SPAN), num_panels * PANEL), padded)
    if bias is not None:
        yield _plain(f"{name}.bias", bias)


def _rows(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Iterator[Planned]:
    """A table that is looked up by row, as it is."""
    yield Planned(name, dtype, tuple(weight.shape), lambda: _rounded(weight, dtype))
    if dtype == torch.int8:
        yield Planned(f"{name}.scales", torch.float32, (weight.shape[0],), lambda: _scales(weight))


def _rounded(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype != torch.int8:
        return weight.to(dtype)
    return torch.round(weight.float() / _scales(weight)[..., None]).to(torch.int8)


def _spans(weight: torch.Tensor) -> torch.Tensor:
    """[n, spans, SPAN] of a weight [n, k], zeros behind the last number."""
    return torch.nn.functional.pad(weight, (0, -weight.shape[1] % SPAN)).unflatten(1, (-1, SPAN))


def _scales(weight: torch.Tensor) -> torch.Tensor:
    """The largest number along the last axis to 127; 1 where all are zero."""
    largest = weight.float().abs().amax(-1)
    return torch.where(largest > 0, largest / 127, torch.ones_like(largest))
