"""A decoder as a TensorRT-LLM checkpoint that takes rows and gives rows: config.json and rank<r>.safetensors.

    vocabulary = the width H: embedding [H, H] of zeros, language head [H, H] the identity

The engine is fed through its prompt table, ids H, H + 1, ... standing for the rows of one request, and its context logits
are the hidden states after the final norm, from which pooling and head follow outside in float32. So every recipe's head
is served, and everything that the runtime sizes by the vocabulary is consistent.

    qkv      the rows of Q, K and V of a rank, each cut first, then joined; a key-value head is repeated where there are
             fewer of them than ranks
    mlp.fc   gate_proj (through silu)      mlp.gate   up_proj      mlp.proj   down_proj

Source: spec/trtllm.md 2.1 to 2.3, 3.2.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelError
from ..models.config import DecoderConfig
from .calibrate import e4m3_scale, to_e4m3
from .stock_decoder import LINEARS, StockDecoder
from .tensor_file import Specs, TensorFile

QUANTS = {"none": None, "w8a16": "W8A16", "fp8": "FP8"}
# Linear layer here -> the stock layers it is made of, joined in this order; and the dimension that ranks share.
_LAYERS: dict[str, tuple[tuple[str, ...], int]] = {
    "attention.qkv": (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), 0),
    "attention.dense": (("self_attn.o_proj",), 1),
    "mlp.fc": (("mlp.gate_proj",), 0),
    "mlp.gate": (("mlp.up_proj",), 0),
    "mlp.proj": (("mlp.down_proj",), 1),
}
_NORMS = {"input_layernorm": "input_layernorm", "post_layernorm": "post_attention_layernorm"}


def write_checkpoint(
    decoder: StockDecoder, folder: Path, *, tp: int, quant: str, ranges: Sequence[dict[str, float]] | None
) -> None:
    """Write the checkpoint, layer by layer.

    Args:
        decoder: what to write.
        folder: made.
        tp: ranks of tensor parallelism.
        quant: a key of QUANTS.
        ranges: of calibrate.activation_ranges, for fp8.

    Raises:
        ModelError: heads or widths that do not divide by the ranks.
    """
    check_ranks(decoder.config, tp)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(checkpoint_config(decoder, tp, quant), indent=1) + "\n")
    fp8 = quant == "fp8"
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(TensorFile(folder / f"rank{r}.safetensors", rank_specs(decoder, tp, fp8)))
            for r in range(tp)
        ]
        for name, parts in _tensors(decoder, tp, ranges if fp8 else None):
            for rank, part in zip(ranks, parts):
                rank.write(name, part)


def check_ranks(config: DecoderConfig, tp: int) -> None:
    """Raise a ModelError if the decoder cannot be spread over `tp` ranks."""
    c = config
    if tp < 1 or c.num_heads % tp or c.mlp_width % tp or (c.num_kv_heads % tp and tp % c.num_kv_heads):
        raise ModelError(
            f"tp {tp} does not divide the decoder: wanted ranks that divide {c.num_heads} heads and {c.mlp_width} of the "
            f"MLP, and divide or are a multiple of {c.num_kv_heads} key-value heads"
        )


def checkpoint_config(decoder: StockDecoder, tp: int, quant: str) -> dict[str, Any]:
    """config.json; what TensorRT-LLM would default to wrongly is written out (rotary_base, qwen_type, norm_epsilon)."""
    c = decoder.config
    return {
        "architecture": "Qwen2ForCausalLM",
        "dtype": str(decoder.dtype).removeprefix("torch."),
        "logits_dtype": "float32",
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "head_size": c.head_width,
        "hidden_size": c.width,
        "intermediate_size": c.mlp_width,
        "vocab_size": c.width,
        "norm_epsilon": c.rms_eps,
        "hidden_act": "silu",
        "position_embedding_type": "rope_gpt_neox",
        "max_position_embeddings": decoder.max_positions,
        "rotary_base": c.rope_theta,
        "rotary_scaling": None,
        "qwen_type": "qwen2",
        "attn_bias": True,
        "mlp_bias": False,
        "use_logn_attn": False,
        "seq_length": min(8192, decoder.max_positions),
        "num_labels": 1,
        "tie_word_embeddings": False,
        "share_embedding_table": False,
        "use_parallel_embedding": False,
        "embedding_sharding_dim": 0,
        "disable_weight_only_quant_plugin": False,
        "moe": {"num_experts": 0, "top_k": 0, "normalization_mode": 0},
        "mapping": {"world_size": tp, "tp_size": tp, "pp_size": 1},
        "quantization": {
            "quant_algo": QUANTS[quant],
            "kv_cache_quant_algo": None,
            "exclude_modules": None if quant == "none" else ["lm_head"],
        },
    }


def rank_specs(decoder: StockDecoder, tp: int, fp8: bool) -> Specs:
    """Name, dtype and shape of every tensor of a rank; all ranks are alike."""
    c, dtype = decoder.config, decoder.dtype
    heads, kv_heads = c.num_heads // tp, max(1, c.num_kv_heads // tp)
    qkv = (heads + 2 * kv_heads) * c.head_width
    mlp = c.mlp_width // tp
    shapes = {
        "attention.qkv": (qkv, c.width), "attention.dense": (c.width, heads * c.head_width),
        "mlp.fc": (mlp, c.width), "mlp.gate": (mlp, c.width), "mlp.proj": (c.width, mlp),
    }  # fmt: skip
    specs: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "transformer.vocab_embedding.weight": (dtype, (c.width, c.width))
    }
    for i in range(c.num_layers):
        at = f"transformer.layers.{i}."
        specs |= {f"{at}{norm}.weight": (dtype, (c.width,)) for norm in _NORMS}
        specs[f"{at}attention.qkv.bias"] = (dtype, (qkv,))
        for name, shape in shapes.items():
            specs[f"{at}{name}.weight"] = (torch.float8_e4m3fn if fp8 else dtype, shape)
            if fp8:
                specs[f"{at}{name}.weights_scaling_factor"] = (torch.float32, (1,))
                specs[f"{at}{name}.activation_scaling_factor"] = (torch.float32, (1,))
    specs["transformer.ln_f.weight"] = (dtype, (c.width,))
    specs["lm_head.weight"] = (dtype, (-(-c.width // tp), c.width))
    return specs


def _tensors(
    decoder: StockDecoder, tp: int, ranges: Sequence[dict[str, float]] | None
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """Every tensor with its part for each rank."""
    c, dtype = decoder.config, decoder.dtype
    yield "transformer.vocab_embedding.weight", [torch.zeros(c.width, c.width, dtype=dtype)] * tp
    for i in range(c.num_layers):
        at, tensors = f"transformer.layers.{i}.", decoder.layer(i)
        for norm, stock in _NORMS.items():
            yield f"{at}{norm}.weight", [tensors[f"{stock}.weight"]] * tp
        biases = [tensors[f"self_attn.{p}_proj.bias"] for p in "qkv"]
        yield f"{at}attention.qkv.bias", _joined(biases, c, tp)
        for name, (stocks, dim) in _LAYERS.items():
            weights = [tensors[f"{stock}.weight"] for stock in stocks]
            if ranges is not None:
                scale = e4m3_scale(max(float(weight.abs().amax()) for weight in weights))
                weights = [to_e4m3(weight, scale) for weight in weights]
                entering = e4m3_scale(ranges[i][LINEARS[stocks[0]]])
                yield f"{at}{name}.weights_scaling_factor", [torch.tensor([scale])] * tp
                yield f"{at}{name}.activation_scaling_factor", [torch.tensor([entering])] * tp
            yield f"{at}{name}.weight", _joined(weights, c, tp) if len(stocks) > 1 else _cut(weights[0], tp, dim)
    yield "transformer.ln_f.weight", [decoder.tensor("model.norm.weight")] * tp
    rows = -(-c.width // tp)
    head = torch.zeros(rows * tp, c.width, dtype=dtype)
    head[: c.width] = torch.eye(c.width, dtype=dtype)
    yield "lm_head.weight", _cut(head, tp, 0)


def _joined(qkv: list[torch.Tensor], config: DecoderConfig, tp: int) -> list[torch.Tensor]:
    """For each rank its rows of Q, K and V, end to end."""
    q, k, v = qkv
    if config.num_kv_heads < tp:
        k, v = (_repeated(x, config.head_width, tp // config.num_kv_heads) for x in (k, v))
    return [torch.cat(parts) for parts in zip(*(_cut(x, tp, 0) for x in (q, k, v)))]


def _repeated(x: torch.Tensor, head_width: int, times: int) -> torch.Tensor:
    """Each head `times` times, side by side."""
    heads = x.view(torch.int8) if x.dtype == torch.float8_e4m3fn else x
    heads = heads.unflatten(0, (-1, head_width)).repeat_interleave(times, 0).flatten(0, 1)
    return heads.view(x.dtype)


def _cut(x: torch.Tensor, tp: int, dim: int) -> list[torch.Tensor]:
    return [part.contiguous() for part in x.chunk(tp, dim)]
