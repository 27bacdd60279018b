"""`harken.load_reranker`: a causal checkpoint, a rerank recipe and an adapter become a Reranker."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from ...errors import ModelError
from ..bulk.tokens import AudioTokens
from ..convert.mini import build_mini
from ..hub import resolve
from ..models.fp8 import quantize_linears
from ..models.load import load_model, model_type
from ..placement import BATCH_TOKENS, DTYPES, pick_device, pick_dtype
from ..recipes.rerank import RerankRecipe, get_rerank_recipe
from ..text.tokenizer import Tokenizer
from .fusion import FusionWeights
from .product import Product
from .reranker import Reranker
from .scorer import load_yes_no

CACHE_BYTES = 1 << 30
# The built-in model's adapters.
ASSETS = Path(str(files("harken.engine") / "assets"))


def load_reranker(
    path: str | Path | None = None,
    *,
    adapter: str | Path | Sequence[str | Path] | None = None,
    recipe: str | Path | RerankRecipe | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    kept_kv_bytes: int = 0,
    max_pending_tokens: int = 1 << 20,
    stored: Mapping[str, np.ndarray] | None = None,
) -> Reranker:
    """Load a reranker.

    Args:
        path: checkpoint folder in Hugging Face layout, or a hub repository; None: harken-mini under its own adapter.
        adapter: peft LoRA folder, merged in float32 at load, or several that stand one upon another; None with no path: the
            built-in reranker's. A `fusion.json` in the last one becomes `Reranker.fusion`; a recipe with `product` reads
            that from it too.
        recipe: name, JSON file of its fields, or RerankRecipe; None: "mini-rerank" for the built-in model, else
            "aurola-rerank".
        device: "cpu", "cuda", "cuda:1"; None: CUDA if there is one.
        dtype: "float32", "bfloat16", "float16" or "float8"; None: float32 on a CPU, bfloat16 on CUDA.
        batch_tokens: tokens of one step; None: 2048 on a CPU, 32768 on CUDA.
        cache_bytes: bound of the audio tokens kept for later pairs; 0: none are.
        kept_kv_bytes: bound of the prefixes' keys and values kept for later pairs, see `Reranker.kv_bytes`.
        max_pending_tokens: prompt tokens that may wait before `submit` does.
        stored: audio tokens [n, W] by path or name, made by `Reranker.audio_tokens` of the same checkpoint, or AudioTokens
            of a bulk run.

    Raises:
        FingerprintError: stored AudioTokens were made by another model.
        ModelError: files that do not make up a model, an adapter or a recipe, or that do not fit each other.
        InputError: an unknown device or dtype, or a bound that leaves no room.
    """
    folder = build_mini() if path is None else resolve(path)
    adapters = [adapter] if isinstance(adapter, (str, Path)) else list(adapter or ())
    if path is None:
        adapters = [ASSETS / "mini", *(adapters or [ASSETS / "mini-rerank"])]
    chosen = get_rerank_recipe(recipe or ("mini-rerank" if path is None else "aurola-rerank"))
    kind = model_type(folder)
    if kind not in chosen.backbones:
        raise ModelError(f"rerank recipe {chosen.name!r} runs on {list(chosen.backbones)}; {folder} is a {kind}")
    where = pick_device(device)
    tokenizer = Tokenizer(folder)
    yes, no = (tokenizer.encode(word).ids[0] for word in (chosen.yes, chosen.no))
    if yes == no:
        raise ModelError(f"{folder}: {chosen.yes!r} and {chosen.no!r} begin with the same token, wanted two")
    dtype = pick_dtype(dtype, where)
    model = load_model(folder, adapter=adapters or None, dtype=DTYPES[dtype], device=where)
    if chosen.joint_from >= model.decoder.config.num_layers:
        raise ModelError(
            f"rerank recipe {chosen.name!r}: joint_from is {chosen.joint_from}; {folder} has "
            f"{model.decoder.config.num_layers} layers"
        )
    if isinstance(stored, AudioTokens):
        stored.require(model)
    if dtype == "float8":
        quantize_linears(model)
    return Reranker(
        model,
        chosen,
        tokenizer,
        load_yes_no(folder, model, (yes, no)),
        batch_tokens=BATCH_TOKENS[where.type] if batch_tokens is None else batch_tokens,
        cache_bytes=cache_bytes,
        kept_kv_bytes=kept_kv_bytes,
        max_pending_tokens=max_pending_tokens,
        stored=stored,
        fusion=_fusion(adapters),
        product=Product.load(adapters[-1] if adapters else folder, model.width, where) if chosen.product else None,
    )


def _fusion(adapters: Sequence[str | Path]) -> FusionWeights | None:
    file = Path(adapters[-1]) / "fusion.json" if adapters else None
    return FusionWeights.load(file) if file is not None and file.is_file() else None
