"""The TensorRT engine path of TensorRT-LLM up to 1.2.1: checkpoint, build script, runner and self-test.

    engine_ckpt/                    config.json and rank<r>.safetensors (trtllm_checkpoint.py)
    build_engine.sh                 trtllm-build with the flags that such an engine needs
    run_engine.py                   EngineEmbedder, --selftest
    embed_head.safetensors          pooling and heads, applied outside the engine in float32
    text_embedding.safetensors      the table that turns token ids into rows
    golden.safetensors              inputs with their rows and vectors

Source: spec/trtllm.md 3.2 and 3.4.
"""

from pathlib import Path

from ...errors import InputError
from ..load import find_source
from ..recipes import Recipe
from .calibrate import activation_ranges
from .folder import total_bytes, write_folder
from .manifest import write_manifest
from .merged import MergedCheckpoint
from .stock_decoder import StockDecoder
from .tensor_file import TensorFile
from .trtllm import copy_programs, golden_rows, parts_of, sizes, write_head
from .trtllm_checkpoint import QUANTS, check_ranks, write_checkpoint

LAST_VERSION = "1.2.1"
_PROGRAMS = ("run_engine.py", "check_version.py", "embed_head.py", "golden_check.py")
_MAX_INPUT, _MAX_BATCH, _MAX_TOKENS = 2048, 32, 16384


def export_trtllm_engine(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str | None = None,
    quant: str = "none",
    calibration: Path | None = None,
    tp: int = 1,
) -> Path:
    """Write everything that `trtllm-build` and a run of its engine need.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make.
        dtype: "float16" or "bfloat16"; None: the checkpoint's.
        quant: "none", "w8a16" (8-bit weights, made by TensorRT-LLM when it reads the checkpoint) or "fp8".
        calibration: for fp8, a folder of sounds like those to come; None: harken's own clips.
        tp: ranks of tensor parallelism.

    Raises:
        InputError: an option that is none of these.
        ModelError: a recipe with bidirectional attention, a model without a decoder, ranks that do not divide it.
        OutputError: `out` exists or cannot be written.
    """
    if quant not in QUANTS:
        raise InputError(f"export: quant must be one of {', '.join(QUANTS)}, got {quant!r}")
    if calibration is not None and quant != "fp8":
        raise InputError(f"export: calibration is for quant fp8, got quant {quant!r}")
    source = find_source(model, recipe=recipe, adapter=adapter)
    merged = MergedCheckpoint(source.folder, source.adapter)

    def build(folder: Path) -> None:
        parts = parts_of(source, dtype)
        check_ranks(parts.decoder.config, tp)
        ranges = activation_ranges(source, calibration) if quant == "fp8" else None
        write_checkpoint(parts.decoder, folder / "engine_ckpt", tp=tp, quant=quant, ranges=ranges)
        _write_table(parts.decoder, folder)
        write_head(parts.embedder, folder)
        copy_programs(folder, _PROGRAMS)
        (folder / "build_engine.sh").write_text(_BUILD.format(dtype=parts.dtype, tp=tp, **_LIMITS))
        (folder / "build_engine.sh").chmod(0o755)
        (folder / "README.md").write_text(_README.format(tp=tp, run="python" if tp == 1 else f"mpirun -n {tp} python"))
        numbers = {"none": parts.dtype, "w8a16": "int8", "fp8": "float8"}[quant]
        golden = parts.golden.save(folder, numbers, golden_rows(parts))
        facts = {"dtype": parts.dtype, "quant": quant, "tp": tp, "decoder": sizes(parts.decoder), "golden": golden}
        write_manifest(folder, "trtllm-engine", parts.embedder, {**facts, "tensorrt_llm": f"<= {LAST_VERSION}"})

    return write_folder(out, build, num_bytes=total_bytes(merged.files))


def _write_table(decoder: StockDecoder, folder: Path) -> None:
    name = "model.embed_tokens.weight"
    specs = {name: (decoder.dtype, decoder.shapes()[name])}
    with TensorFile(folder / "text_embedding.safetensors", specs) as file:
        file.write(name, decoder.tensor(name))


_LIMITS = {
    "max_input": _MAX_INPUT, "max_seq": _MAX_INPUT + 1, "max_batch": _MAX_BATCH, "max_tokens": _MAX_TOKENS,
    "max_rows": _MAX_INPUT * _MAX_BATCH,
}  # fmt: skip

_BUILD = """#!/bin/sh
# Builds ./engine from ./engine_ckpt. Wants TensorRT-LLM 1.2.1 or older, as in
#   docker run --gpus all -it -v "$PWD:/w" -w /w nvcr.io/nvidia/tensorrt-llm/release:1.2.1 ./build_engine.sh
# If the runner refuses an engine without a KV cache, leave out --kv_cache_type disabled.
set -eu
cd "$(dirname "$0")"
python3 check_version.py
trtllm-build --checkpoint_dir engine_ckpt --output_dir engine --workers {tp} \\
  --gpt_attention_plugin {dtype} --gemm_plugin {dtype} --context_fmha enable --remove_input_padding enable \\
  --kv_cache_type disabled --gather_context_logits --logits_dtype float32 \\
  --max_batch_size {max_batch} --max_input_len {max_input} --max_seq_len {max_seq} --max_num_tokens {max_tokens} \\
  --max_multimodal_len {max_rows}
"""

_README = """# TensorRT engine of an audio-text embedder

    ./build_engine.sh
    {run} run_engine.py --selftest

Both want a GPU and TensorRT-LLM 1.2.1 or older; later releases have no trtllm-build, and `harken export --to trtllm` is for
them. When this was exported, neither step was run: what was checked is the checkpoint itself, its names, shapes and numbers,
by an interpreter in PyTorch. The self-test says in one line whether the engine's vectors are harken's.

The engine takes rows, not token ids, through its prompt table (`run_engine.EngineEmbedder`): a sentence's rows are those of
text_embedding.safetensors, a sound's are what the audio tower and projector give (`harken export --to onnx` has them as
audio_tower.onnx). Its context logits are hidden states; embed_head.py makes vectors of them.
"""
