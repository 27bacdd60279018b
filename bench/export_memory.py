"""How much memory an export of a checkpoint takes that is larger than memory should be.

Question: does `harken export` stream tensor by tensor, so that a 7B checkpoint needs less than 4 GB?
Gate:     the export's manifest is checked, and a merged tensor differs from the base's.
Reads:    peak resident memory of the process that exports (VmHWM, mapped file pages included), seconds, bytes written.

    python -m harken.bench.export_memory /big/disk --to hf --size 7b       wants 50 GB of disk
    python -m harken.bench.export_memory /tmp/x --to hf --size tiny

The checkpoint is synthetic: Qwen2.5-Omni's thinker without vision, random numbers in bfloat16, sharded, with a LoRA of rank
16 on every linear layer of the decoder. One process an export, so that one peak is not another's.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from ..engine.export.manifest import read_manifest
from ..engine.export.merged import MergedCheckpoint
from ..engine.export.targets import export
from ..engine.export.tensor_file import TensorFile, num_bytes

# Sizes of the decoder and of the audio tower: (width, layers, heads, key-value heads, MLP, vocabulary), (width, layers,
# heads, MLP).
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "7b": ((3584, 28, 28, 4, 18944, 152064), (1280, 32, 20, 5120)),
    "3b": ((2048, 36, 16, 2, 11008, 151936), (1280, 32, 20, 5120)),
    "small": ((1024, 8, 8, 2, 4096, 600), (32, 2, 4, 64)),
    "tiny": ((64, 4, 4, 2, 128, 600), (32, 2, 4, 64)),
}
_RANK, _MELS, _SHARDS = 16, 128, 4
_SPECIAL = ["<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]


def write_checkpoint(folder: Path, size: str) -> None:
    """A thinker-only checkpoint of random numbers, written tensor by tensor."""
    folder.mkdir(parents=True)
    (width, layers, heads, kv_heads, mlp, vocab), (tower, tower_layers, tower_heads, tower_mlp) = SIZES[size]
    head = width // heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, width)}
    for i in range(layers):
        at = f"model.layers.{i}"
        for name, rows in (("q", heads * head), ("k", kv_heads * head), ("v", kv_heads * head)):
            shapes |= {f"{at}.self_attn.{name}_proj.weight": (rows, width), f"{at}.self_attn.{name}_proj.bias": (rows,)}
        shapes |= {f"{at}.self_attn.o_proj.weight": (width, heads * head), f"{at}.input_layernorm.weight": (width,)}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (mlp, width) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (width, mlp), f"{at}.post_attention_layernorm.weight": (width,)}
    shapes |= {"model.norm.weight": (width,), "lm_head.weight": (vocab, width)}
    shapes |= {"audio_tower.conv1.weight": (tower, _MELS, 3), "audio_tower.conv1.bias": (tower,)}
    shapes |= {"audio_tower.conv2.weight": (tower, tower, 3), "audio_tower.conv2.bias": (tower,)}
    for i in range(tower_layers):
        at = f"audio_tower.layers.{i}"
        for name in ("q", "k", "v", "out"):
            shapes[f"{at}.self_attn.{name}_proj.weight"] = (tower, tower)
            if name != "k":
                shapes[f"{at}.self_attn.{name}_proj.bias"] = (tower,)
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{at}.{norm}.weight": (tower,), f"{at}.{norm}.bias": (tower,)}
        shapes |= {f"{at}.fc1.weight": (tower_mlp, tower), f"{at}.fc1.bias": (tower_mlp,)}
        shapes |= {f"{at}.fc2.weight": (tower, tower_mlp), f"{at}.fc2.bias": (tower,)}
    shapes |= {"audio_tower.ln_post.weight": (tower,), "audio_tower.ln_post.bias": (tower,)}
    shapes |= {"audio_tower.proj.weight": (width, tower), "audio_tower.proj.bias": (width,)}
    _write_shards(folder, shapes)
    ids = _write_tokenizer(folder)
    text = dict(
        model_type="qwen2_5_omni_text", hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, intermediate_size=mlp, vocab_size=vocab, rope_theta=1e6, rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )  # fmt: skip
    audio = dict(
        d_model=tower, encoder_layers=tower_layers, encoder_attention_heads=tower_heads, encoder_ffn_dim=tower_mlp,
        num_mel_bins=_MELS, n_window=100, output_dim=width,
    )  # fmt: skip
    config = dict(
        model_type="qwen2_5_omni_thinker", text_config=text, audio_config=audio, audio_token_index=ids["<|AUDIO|>"],
        dtype="bfloat16",
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"chunk_length": 30, "feature_size": _MELS}))


def _write_shards(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    names = list(shapes)
    per = -(-len(names) // _SHARDS)
    where: dict[str, str] = {}
    for i in range(_SHARDS):
        file = f"model-{i + 1:05}-of-{_SHARDS:05}.safetensors"
        part = {name: (torch.bfloat16, shapes[name]) for name in names[i * per : (i + 1) * per]}
        with TensorFile(folder / file, part) as written:
            for name, (_, shape) in part.items():
                scale = 0.02 if len(shape) > 1 else 0.1
                noise = torch.randn(shape, dtype=torch.bfloat16) * scale
                written.write(name, noise + 1 if "norm" in name and name.endswith("weight") else noise)
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """A tokenizer of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {token: len(alphabet) + i for i, token in enumerate(_SPECIAL)}


def write_adapter(folder: Path, size: str) -> None:
    """A LoRA on every linear layer of the decoder."""
    folder.mkdir(parents=True)
    (width, layers, heads, kv_heads, mlp, _), _ = SIZES[size]
    q, kv = width, kv_heads * (width // heads)
    rows_columns = {
        "self_attn.q_proj": (q, width), "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width),
        "self_attn.o_proj": (width, q), "mlp.gate_proj": (mlp, width), "mlp.up_proj": (mlp, width),
        "mlp.down_proj": (width, mlp),
    }  # fmt: skip
    tensors = {}
    for i in range(layers):
        for name, (rows, columns) in rows_columns.items():
            at = f"base_model.model.model.layers.{i}.{name}"
            tensors[f"{at}.lora_A.weight"] = torch.randn(_RANK, columns) / columns**0.5
            tensors[f"{at}.lora_B.weight"] = 0.02 * torch.randn(rows, _RANK)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": _RANK, "lora_alpha": 2 * _RANK}))


def measure(model: Path, adapter: Path, out: Path, to: str, options: dict[str, Any]) -> dict[str, Any]:
    """Export in this process, and what it took; the peak is the process's."""
    start = time.perf_counter()
    export(model, out, to=to, adapter=adapter, recipe="lco-embedding-7b", **options)
    seconds, peak = time.perf_counter() - start, peak_bytes()
    manifest = read_manifest(out)
    checkpoint = sum(
        num_bytes(*spec) for specs in MergedCheckpoint(model, None).files.values() for spec in specs.values()
    )
    written = sum(facts["bytes"] for facts in manifest["files"].values())
    return {
        "to": to,
        **options,
        "checkpoint_bytes": checkpoint,
        "written_bytes": written,
        "peak_bytes": peak,
        "seconds": round(seconds, 1),
    }


def peak_bytes() -> int:
    """Peak resident memory of this process; Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where checkpoint and exports are written")
    parser.add_argument("--to", default="hf")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--tp", type=int)
    parser.add_argument("--quant")
    parser.add_argument("--only-export", action="store_true", help="the checkpoint is there already")
    args = parser.parse_args(arguments)
    model, adapter = args.folder / f"model-{args.size}", args.folder / f"lora-{args.size}"
    if not args.only_export:
        if not model.exists():
            write_checkpoint(model, args.size)
            write_adapter(adapter, args.size)
        # Another process, whose peak is the export's alone.
        again = [*(arguments if arguments is not None else sys.argv[1:]), "--only-export"]
        raise SystemExit(subprocess.run([sys.executable, "-m", "harken.bench.export_memory", *again]).returncode)
    options = {name: value for name, value in (("tp", args.tp), ("quant", args.quant)) if value is not None}
    print(json.dumps(measure(model, adapter, args.folder / f"{args.to}-{args.size}", args.to, options)))


if __name__ == "__main__":
    main()
