"""For TensorRT-LLM's PyTorch backend: the decoder as a stock Qwen2 checkpoint, and a model file that makes it an embedder.

    config.json, model*.safetensors     Qwen2ForCausalLM by names and shapes, architecture AudioTextQwen2ForEmbedding
    modeling_trtllm_embedder.py         registers that architecture
    embed_head.safetensors              pooling and heads
    run_pytorch_backend.py              --selftest
    hf_quant_config.json                with fp8: weights in e4m3, a scale for each linear layer and for what enters it

Source: spec/trtllm.md 2.3 (unified 8-bit checkpoints), 3.3.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError, ModelError
from ..load import find_source
from ..recipes import Recipe
from .calibrate import activation_ranges, e4m3_scale, to_e4m3
from .folder import total_bytes, write_folder
from .manifest import write_manifest
from .merged import MergedCheckpoint
from .stock_decoder import LINEARS, StockDecoder
from .tensor_file import Specs, TensorFile, num_bytes
from .trtllm import Parts, copy_programs, golden_rows, parts_of, sizes, write_head

ARCHITECTURE = "AudioTextQwen2ForEmbedding"
QUANTS = ("none", "fp8")
_PROGRAMS = ("modeling_trtllm_embedder.py", "run_pytorch_backend.py", "embed_head.py", "golden_check.py")
_SHARD_BYTES = 4 << 30


def export_trtllm(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str | None = None,
    quant: str = "none",
    calibration: Path | None = None,
) -> Path:
    """Write the folder that `tensorrt_llm.LLM(model=out, encode_only=True)` takes.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make.
        dtype: "float16" or "bfloat16"; None: the checkpoint's.
        quant: "none" or "fp8".
        calibration: for fp8, a folder of sounds like those to come; None: harken's own clips.

    Raises:
        InputError: an option that is none of these.
        ModelError: a recipe with bidirectional attention or that pools the content alone, or a model without a decoder.
        OutputError: `out` exists or cannot be written.
    """
    if quant not in QUANTS:
        raise InputError(f"export: quant must be one of {', '.join(QUANTS)}, got {quant!r}")
    if calibration is not None and quant != "fp8":
        raise InputError(f"export: calibration is for quant fp8, got quant {quant!r}")
    source = find_source(model, recipe=recipe, adapter=adapter)
    if source.recipe.pooling == "mean-content":
        raise ModelError(
            f"recipe {source.recipe.name!r} pools the content of a prompt, whose place TensorRT-LLM's PyTorch backend does "
            "not tell the model; --to trtllm-engine and --to onnx export it"
        )
    merged = MergedCheckpoint(source.folder, source.adapter)

    def build(folder: Path) -> None:
        parts = parts_of(source, dtype)
        ranges = activation_ranges(source, calibration) if quant == "fp8" else None
        write_stock(parts.decoder, folder, ranges)
        _write_config(parts, folder, quant)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
            if (source.folder / name).is_file():
                shutil.copyfile(source.folder / name, folder / name)
        write_head(parts.embedder, folder)
        copy_programs(folder, _PROGRAMS)
        (folder / "README.md").write_text(_README)
        golden = parts.golden.save(folder, "float8" if quant == "fp8" else parts.dtype, golden_rows(parts))
        facts = {"dtype": parts.dtype, "quant": quant, "decoder": sizes(parts.decoder), "golden": golden}
        write_manifest(folder, "trtllm", parts.embedder, {**facts, "tensorrt_llm": ">= 1.3"})

    return write_folder(out, build, num_bytes=total_bytes(merged.files))


def write_stock(decoder: StockDecoder, folder: Path, ranges: Sequence[dict[str, float]] | None) -> None:
    """model.safetensors, or shards of at most 4 GB with their index; with `ranges` linear layers in e4m3."""
    shards = list(_shards(_specs(decoder, ranges is not None)))
    names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    tensors = _tensors(decoder, ranges)
    for file, specs in zip(names, shards):
        with TensorFile(folder / file, specs) as written:
            for _ in specs:
                written.write(*next(tensors))
    if len(shards) > 1:
        total = sum(num_bytes(*spec) for specs in shards for spec in specs.values())
        where = {name: file for file, specs in zip(names, shards) for name in specs}
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def _specs(decoder: StockDecoder, fp8: bool) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Every tensor in the order in which `_tensors` gives them."""
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for name, shape in decoder.shapes().items():
        narrow = fp8 and _linear(name) is not None
        found[name] = (torch.float8_e4m3fn if narrow else decoder.dtype, shape)
        if narrow:
            found[f"{name}_scale"] = found[f"{name.removesuffix('weight')}input_scale"] = (torch.float32, ())
    return found


def _tensors(decoder: StockDecoder, ranges: Sequence[dict[str, float]] | None) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in decoder.tensors():
        linear = _linear(name)
        if ranges is None or linear is None:
            yield name, tensor
            continue
        scale = e4m3_scale(float(tensor.abs().amax()))
        entering = e4m3_scale(ranges[int(name.split(".")[2])][LINEARS[linear]])
        yield name, to_e4m3(tensor, scale)
        yield f"{name}_scale", torch.tensor(scale)
        yield f"{name.removesuffix('weight')}input_scale", torch.tensor(entering)


def _linear(name: str) -> str | None:
    """The linear layer whose weight this is."""
    inside = name.removesuffix(".weight").split(".", 3)[-1]
    return inside if name.endswith(".weight") and inside in LINEARS else None


def _shards(specs: Specs) -> Iterator[dict[str, tuple[torch.dtype, tuple[int, ...]]]]:
    """Neighbours together, as long as they fit."""
    shard: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    size = 0
    for name, spec in specs.items():
        if shard and size + num_bytes(*spec) > _SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = spec
        size += num_bytes(*spec)
    yield shard


def _write_config(parts: Parts, folder: Path, quant: str) -> None:
    c = parts.decoder.config
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen2",
        "hidden_size": c.width,
        "intermediate_size": c.mlp_width,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "head_dim": c.head_width,
        "vocab_size": c.vocab_size,
        "hidden_act": "silu",
        "rms_norm_eps": c.rms_eps,
        "max_position_embeddings": parts.decoder.max_positions,
        # The forms of transformers 4 and 5; each version defaults without a word where its own is missing.
        "rope_theta": c.rope_theta,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "use_sliding_window": False,
        "attention_dropout": 0.0,
        # No language head is stored, nor used.
        "tie_word_embeddings": True,
        "use_cache": False,
        "dtype": parts.dtype,
        "torch_dtype": parts.dtype,
    }
    if quant == "fp8":
        how = {"quant_algo": "FP8", "kv_cache_quant_algo": None, "exclude_modules": ["lm_head", "model.embed_tokens"]}
        config["quantization_config"] = {"quant_method": "modelopt", **how}
        values = {"producer": {"name": "harken", "version": parts.embedder.fingerprint.version}, "quantization": how}
        (folder / "hf_quant_config.json").write_text(json.dumps(values, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


_README = """# An audio-text embedder for TensorRT-LLM's PyTorch backend

    python run_pytorch_backend.py --selftest

Wants a GPU and a TensorRT-LLM whose `LLM` takes encode_only=True (1.3 or newer). When this was exported, that step was not
run: what was checked is the checkpoint, by transformers, and the model file, against a stand-in for the names of
tensorrt_llm that it imports. The self-test says in one line whether the vectors are harken's.

    import modeling_trtllm_embedder
    from tensorrt_llm import LLM
    LLM(model=".", encode_only=True).encode([token_ids])       # a sentence's prompt, template and all

A sound's rows come from the audio tower and projector (`harken export --to onnx` has them as audio_tower.onnx) and enter as
`inputs_embeds` (`run_pytorch_backend.BackendEmbedder.of_rows`). Attention is causal.
"""
