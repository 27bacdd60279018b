"""The merged checkpoint in hub layout: what transformers, and everything that reads its folders, can load.

    W of every linear layer that the adapter touches -> W + s B A, cast once to the checkpoint's dtype; all else as it was

Names, shards and dtypes stay those of the base, so that whatever loaded the base loads this. The rotary base stands in
config.json in the forms of transformers 4 (`rope_theta`) and 5 (`rope_parameters`), because each version reads one of them
and takes its own default, without a word, where that is missing.

Source: spec/models.md section 5; spec/trtllm.md 3.3 (rope forms).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from ..embedder import Embedder
from ..load import Source, find_source
from ..models.config import read_json
from ..models.heads import FILE as HEADS_FILE
from ..models.mllm import AudioLM
from ..placement import DTYPES
from ..recipes import Recipe, recipes
from .folder import total_bytes, write_folder
from .golden import make_golden
from .manifest import write_manifest
from .merged import MergedCheckpoint
from .st_modules import reason_against, write_modules
from .streamed import streamed_embedder
from .tensor_file import TensorFile, num_bytes

_INDEX = "model.safetensors.index.json"
# Not copied from the base: weights, and what says how another model than this one is used.
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")
_NOT_OURS = {
    _INDEX, "harken.json", "manifest.json", "README.md", "adapter_config.json", "modules.json",
    "config_sentence_transformers.json", "sentence_bert_config.json",
}  # fmt: skip
# A table of voices that transformers wants beside full Qwen2.5-Omni checkpoints.
_KEPT = {"spk_dict.pt"}


def export_hf(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str | None = None,
) -> Path:
    """Write the merged checkpoint.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make; `harken.load(out)` then needs no adapter and no recipe.
        dtype: "float32", "bfloat16" or "float16" for all floating tensors; None: each keeps the one it has.

    Raises:
        InputError: another dtype.
        ModelError: a model, adapter or recipe that cannot be used as it is.
        OutputError: `out` exists or cannot be written.
    """
    cast = pick_stored_dtype(dtype)
    source = find_source(model, recipe=recipe, adapter=adapter)
    merged = MergedCheckpoint(source.folder, source.adapter)

    def build(folder: Path) -> None:
        write_weights(merged, folder, cast)
        embedder = streamed_embedder(source)
        write_companions(source, folder, cast, embedder)
        if (reason := reason_against(source)) is None:
            token = embedder.tokenizer.decode([embedder.model.audio_token_id])
            write_modules(source, folder, width=embedder.model.width, audio_token=token)
        stored = dtype or stored_dtype(merged)
        golden = make_golden(embedder).save(folder, stored)
        told = "written" if reason is None else f"not written: {reason}"
        facts = {"dtype": stored, "golden": golden, "sentence_transformers": told}
        write_manifest(folder, "hf", embedder, facts)

    return write_folder(out, build, num_bytes=total_bytes(merged.files))


def pick_stored_dtype(dtype: str | None) -> torch.dtype | None:
    """The torch dtype of a name that weights can be stored in; None: as they are."""
    if dtype is not None and (dtype == "float8" or dtype not in DTYPES):
        raise InputError(f"export: dtype must be float32, bfloat16 or float16, got {dtype!r}")
    return None if dtype is None else DTYPES[dtype]


def stored_dtype(merged: MergedCheckpoint) -> str:
    """The name of the coarsest dtype among the floating tensors."""
    found = {dtype for specs in merged.files.values() for dtype, _ in specs.values()}
    order = (("bfloat16", torch.bfloat16), ("float16", torch.float16))
    return next((name for name, dtype in order if dtype in found), "float32")


def write_weights(merged: MergedCheckpoint, folder: Path, cast: torch.dtype | None) -> None:
    """The merged tensors in files of the names that the base has, with their index if there are several."""
    total = 0
    where: dict[str, str] = {}
    for file, specs in merged.files.items():
        target = {name: (_cast(dtype, cast), shape) for name, (dtype, shape) in specs.items()}
        where |= dict.fromkeys(target, file.name)
        total += sum(num_bytes(*spec) for spec in target.values())
        with TensorFile(folder / file.name, target) as written:
            for name, tensor in merged.tensors(file):
                written.write(name, tensor.to(target[name][0]))
    merged.finish()
    if len(merged.files) > 1 or (merged.folder / _INDEX).is_file():
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        (folder / _INDEX).write_text(json.dumps(index, indent=1) + "\n")


def _cast(dtype: torch.dtype, wanted: torch.dtype | None) -> torch.dtype:
    return dtype if wanted is None or not dtype.is_floating_point else wanted


def write_companions(source: Source, folder: Path, cast: torch.dtype | None, embedder: Embedder) -> None:
    """Everything but the weights: config, tokenizer, preprocessor, chat template, heads, harken.json."""
    for path in sorted(source.folder.iterdir()):
        if path.is_file() and path.name not in _NOT_OURS and not path.name.startswith("."):
            if path.name in _KEPT or not path.name.endswith(_WEIGHT_SUFFIXES):
                shutil.copyfile(path, folder / path.name)
    config = read_json(source.folder / "config.json")
    theta = embedder.model.decoder.config.rope_theta if isinstance(embedder.model, AudioLM) else None
    _write_json(folder / "config.json", portable_config(config, theta, cast))
    for place in (source.adapter, source.folder):
        if place is not None and (place / HEADS_FILE).is_file():
            shutil.copyfile(place / HEADS_FILE, folder / HEADS_FILE)
            break
    _write_json(folder / "harken.json", _kept_recipe(source.recipe))


def portable_config(config: dict[str, Any], rope_theta: float | None, cast: torch.dtype | None) -> dict[str, Any]:
    """config.json with dtype and rotary base (None: a model without one) in the forms of transformers 4 and 5."""
    config = json.loads(json.dumps(config))
    inner = config.get("thinker_config", config)
    dtype = str(cast).removeprefix("torch.") if cast else config.get("dtype") or config.get("torch_dtype")
    if dtype is not None:
        config["dtype"] = config["torch_dtype"] = dtype
    for part in (inner, *(value for value in inner.values() if isinstance(value, dict))):
        part.update({key: dtype for key in ("dtype", "torch_dtype") if cast and key in part})
    if rope_theta is None:
        return config
    text = inner.setdefault("text_config", {})
    given = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
    section = {"mrope_section": given["mrope_section"]} if "mrope_section" in given else {}
    text["rope_theta"] = rope_theta
    # transformers 4 knows Qwen2.5-Omni's sections by this dictionary alone; elsewhere it would be another kind of rotary.
    text["rope_scaling"] = {"type": "default", "rope_type": "default", **section} if section else None
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": rope_theta, **section}
    return config


def _kept_recipe(recipe: Recipe) -> dict[str, Any]:
    """harken.json: a built-in recipe by name, another one as what it overrides of the first that is built in."""
    name = recipe.name if recipe.name in recipes() else next(iter(recipes()))
    base, wanted = recipes()[name].to_dict(), recipe.to_dict()
    overrides = {key: value for key, value in wanted.items() if base[key] != value}
    return {"recipe": name, **({"overrides": overrides} if overrides else {})}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
