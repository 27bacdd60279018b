"""`harken.load`: a checkpoint, a recipe and an adapter become an Embedder."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError, ModelError
from .compiled import compile_layers
from .embedder import Embedder
from .encoder import Encoder
from .fingerprint import fingerprint_of
from .graphs import CudaGraphs, can_capture, capture
from .hub import resolve
from .lm_encoder import LMEncoder
from .models.config import read_json
from .models.dual import DualEncoder
from .models.fp8 import quantize_linears
from .models.heads import load_heads
from .models.load import load_any, model_type
from .models.mllm import AudioLM
from .models.whisper import WhisperTower
from .placement import BATCH_TOKENS, DTYPES, pick_device, pick_dtype
from .recipes import Recipe, get_recipe, recipes
from .text.tokenizer import Tokenizer
from .two_tower_encoder import TwoTowerEncoder


@dataclass(frozen=True, slots=True)
class Source:
    """The files a model is made of, and the recipe it is used by."""

    folder: Path
    adapter: Path | None
    recipe: Recipe
    # `model_type` of the checkpoint.
    kind: str


def load(
    path: str | Path | None = None,
    *,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    graphs: bool | None = None,
    compile: bool = False,
) -> Embedder:
    """Load a model.

    Args:
        path: checkpoint folder in Hugging Face layout, or a hub repository; None: the built-in small model.
        recipe: name (`harken recipes` lists them), JSON file, its fields, or Recipe; None: what the folder's harken.json
            names, a file of {"recipe": name, "adapter": folder, "overrides": {field: value}}, overrides for that recipe.
        adapter: peft LoRA folder, merged in float32 at load; None: the one named in harken.json, if any.
        device: "cpu", "cuda", "cuda:1"; None: CUDA if there is one.
        dtype: "float32", "bfloat16", "float16", or "float8" (bfloat16 with 8-bit linear layers);
            None: float32 on a CPU, bfloat16 on CUDA.
        batch_tokens: tokens of one batch; None: 1024 on a CPU, 32768 on CUDA.
        graphs: run small batches of a multimodal LLM from CUDA graphs; None: on CUDA in half precision or float8.
        compile: put the layers of a multimodal LLM through torch.compile, which takes a while at the first batch.

    Raises:
        ModelError: files that do not make up a model, an adapter or a recipe, or that do not fit each other.
        InputError: an unknown device or dtype, or graphs or compilation of a model that cannot have them.
    """
    source = find_source(path, recipe=recipe, adapter=adapter)
    where = pick_device(device)
    dtype = pick_dtype(dtype, where)
    model = load_any(source.folder, adapter=source.adapter, dtype=DTYPES[dtype], device=where)
    return embedder_of(model, source, dtype=dtype, batch_tokens=batch_tokens, graphs=graphs, compile=compile)


def embedder_of(
    model: AudioLM | DualEncoder,
    source: Source,
    *,
    dtype: str,
    batch_tokens: int | None = None,
    graphs: bool | None = None,
    compile: bool = False,
) -> Embedder:
    """The Embedder around a model that was built from `source`; the other arguments as in `load`.

    Raises:
        ModelError: the recipe wants what the model lacks.
        InputError: graphs or compilation of a model that cannot have them.
    """
    folder, chosen = source.folder, source.recipe
    if chosen.long_audio == "chunk-attention" and getattr(model, "chunk_query", None) is None:
        raise ModelError(
            f"recipe {chosen.name!r} attends to chunks; {folder} is a {source.kind} without a query for them"
        )
    if chosen.feature_window_s is not None:
        if not isinstance(model.tower, WhisperTower):
            raise ModelError(
                f"recipe {chosen.name!r} sets feature_window_s; the features of a {source.kind} have no window"
            )
        model.tower.max_samples = round(chosen.feature_window_s * model.tower.spec.sample_rate_hz)
    if dtype == "float8":
        quantize_linears(model)
    return Embedder(
        _encoder(model, source, graphs=graphs, compile=compile),
        chosen,
        Tokenizer(folder),
        fingerprint_of(folder, adapter=source.adapter, recipe=chosen, front_end=model.tower.spec.name, dtype=dtype),
        batch_tokens=BATCH_TOKENS[model.device.type] if batch_tokens is None else batch_tokens,
        folder=folder,
        adapter=source.adapter,
    )


def _encoder(model: AudioLM | DualEncoder, source: Source, *, graphs: bool | None, compile: bool) -> Encoder:
    can_graph = isinstance(model, AudioLM) and can_capture(model.device, model.dtype)
    if graphs and not can_graph:
        raise InputError(
            "graphs=True wants a multimodal LLM on CUDA in half precision or float8; "
            f"{source.folder} is a {source.kind} in {model.dtype} on {model.device}"
        )
    if isinstance(model, DualEncoder):
        if compile:
            raise InputError(f"compile=True wants a multimodal LLM; {source.folder} is a {source.kind}")
        return TwoTowerEncoder(model, source.recipe)
    if compile:
        compile_layers(model)
    captured = capture(model, CudaGraphs()) if can_graph and graphs is not False else None
    names = sorted({name for name in (source.recipe.audio_head, source.recipe.text_head) if name is not None})
    places = [place for place in (source.adapter, source.folder) if place is not None]
    heads = load_heads(places, names, model.width, model.device) if names else {}
    return LMEncoder(model, source.recipe, heads, captured)


def find_source(
    path: str | Path | None, *, recipe: str | Path | Mapping[str, Any] | Recipe | None, adapter: str | Path | None
) -> Source:
    """What `load` would read, arguments as there: no weight has been read yet.

    Raises:
        ModelError: no checkpoint, no recipe, or two that do not fit each other.
    """
    folder = _built_in() if path is None else resolve(path)
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: is an adapter; wanted the checkpoint it adapts, and this folder as the adapter")
    lora = None if adapter is None else Path(adapter)
    if path is None and lora is None:
        lora = Path(str(files("harken.engine") / "assets" / "mini"))
    kept = read_json(folder / "harken.json") if (folder / "harken.json").is_file() else {}
    if lora is None and kept.get("adapter"):
        lora = folder / kept["adapter"]
    named = kept.get("recipe")
    if isinstance(named, str) and named.endswith(".json"):
        named = folder / named
    chosen = get_recipe(recipe if recipe is not None else named or _default_recipe(folder))
    if kept.get("overrides") and (recipe is None or kept.get("recipe") in (None, chosen.name)):
        chosen = Recipe.from_dict({**chosen.to_dict(), **kept["overrides"]}, str(folder / "harken.json"))
    kind = model_type(folder)
    if kind not in chosen.backbones:
        raise ModelError(f"recipe {chosen.name!r} runs on {list(chosen.backbones)}; {folder} is a {kind}")
    return Source(folder, lora, chosen, kind)


def _built_in() -> Path:
    from .convert.mini import build_mini

    return build_mini()


def _default_recipe(folder: Path) -> str:
    fitting = [name for name, recipe in recipes().items() if model_type(folder) in recipe.backbones]
    raise ModelError(f"{folder}: has no harken.json that names a recipe; give one with recipe=, fitting are {fitting}")
