"""A GGUF file of a llama decoder: its weights under Hugging Face names, its config, and its tokenizer.

llama.cpp stores the rows of q and k interleaved for its rotary embedding; with h rows a head

    row[head, j, half]  ->  row[head, half, j],   j < h / 2

gives back the two halves that Hugging Face models rotate. The tokenizer is byte-level BPE over single digits and words
("smollm" pre-tokenizer).

Source: the GGUF specification; llama.cpp's pre-tokenizer names; checked against transformers' own GGUF loading.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ...errors import ModelError

_WHOLE = {"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"}
_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
# `tokenizer.ggml.token_type` of tokens that never come out of merging.
_CONTROL = 3


class GgufLlama:
    """A llama model in a GGUF file.

    Raises:
        ModelError: the `gguf` package is missing, or the file is no GGUF of a llama decoder.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import gguf
        except ImportError:
            raise ModelError(f"{path}: reading GGUF needs the gguf package: pip install gguf") from None
        self.path, self._gguf = Path(path), gguf
        try:
            self._reader = gguf.GGUFReader(str(path))
        except (OSError, ValueError, IndexError) as error:
            raise ModelError(f"{path}: cannot be read as GGUF: {error}") from None
        architecture = self.field("general.architecture")
        if architecture != "llama":
            raise ModelError(f"{path}: architecture is {architecture!r}, wanted 'llama'")

    def field(self, key: str, default: Any = None) -> Any:
        """A metadata value."""
        found = self._reader.fields.get(key)
        return default if found is None else found.contents()

    def _required(self, key: str) -> Any:
        value = self.field(key)
        if value is None:
            raise ModelError(f"{self.path}: the metadata field {key} is missing")
        return value

    def config(self) -> dict[str, Any]:
        """The model's config.json as transformers' LlamaConfig writes it."""
        get = lambda key: self._required(f"llama.{key}")
        width, num_heads = int(get("embedding_length")), int(get("attention.head_count"))
        return dict(
            model_type="llama",
            hidden_size=width,
            intermediate_size=int(get("feed_forward_length")),
            num_hidden_layers=int(get("block_count")),
            num_attention_heads=num_heads,
            num_key_value_heads=int(get("attention.head_count_kv")),
            head_dim=int(self.field("llama.rope.dimension_count", width // num_heads)),
            max_position_embeddings=int(get("context_length")),
            # Stored as float32: 1e-5 comes back as 9.999999747378752e-06.
            rms_norm_eps=float(f"{get('attention.layer_norm_rms_epsilon'):.6g}"),
            rope_theta=float(self.field("llama.rope.freq_base", 10000.0)),
            vocab_size=len(self._required("tokenizer.ggml.tokens")),
            hidden_act="silu",
            attention_bias=False,
            mlp_bias=False,
            tie_word_embeddings=all(t.name != "output.weight" for t in self._reader.tensors),
            bos_token_id=self.field("tokenizer.ggml.bos_token_id"),
            eos_token_id=self.field("tokenizer.ggml.eos_token_id"),
            pad_token_id=self.field("tokenizer.ggml.padding_token_id"),
        )

    def weights(self) -> dict[str, np.ndarray]:
        """All tensors as float32 under the names of transformers' LlamaModel (`layers.0.self_attn.q_proj.weight`).

        Raises:
            ModelError: a tensor that a llama decoder does not have.
        """
        heads = {"attn_q": self._required("llama.attention.head_count")}
        heads["attn_k"] = self._required("llama.attention.head_count_kv")
        state = {}
        for tensor in self._reader.tensors:
            shape = [int(n) for n in tensor.shape[::-1]]
            weight = self._gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
            layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor.name)
            if layer and layer[2] in _LAYER:
                if layer[2] in heads:
                    weight = unpermute(weight, int(heads[layer[2]]))
                state[f"layers.{layer[1]}.{_LAYER[layer[2]]}.weight"] = weight
            elif (name := tensor.name.removesuffix(".weight")) in _WHOLE:
                state[f"{_WHOLE[name]}.weight"] = weight
            else:
                raise ModelError(f"{self.path}: {tensor.name} is no tensor of a llama decoder")
        return state

    def tokenizer(self, extra_tokens: tuple[str, ...] = ()) -> Tokenizer:
        """The tokenizer, with `extra_tokens` as further special tokens behind the vocabulary.

        Raises:
            ModelError: a kind of tokenizer that is not known.
        """
        kind = (self.field("tokenizer.ggml.model"), self.field("tokenizer.ggml.pre"))
        if kind != ("gpt2", "smollm"):
            raise ModelError(
                f"{self.path}: tokenizer {kind[0]!r} with pre-tokenizer {kind[1]!r}, wanted 'gpt2' with 'smollm'"
            )
        tokens = self._required("tokenizer.ggml.tokens")
        # Neither half of a merge holds a blank: the byte-level alphabet writes it as another letter.
        merges = [(left, right) for left, right in (m.split(" ") for m in self._required("tokenizer.ggml.merges"))]
        special = [t for t, kind in zip(tokens, self._required("tokenizer.ggml.token_type")) if kind == _CONTROL]
        return byte_level_bpe({token: i for i, token in enumerate(tokens)}, merges, [*special, *extra_tokens])


def unpermute(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows of a q or k projection [num_heads * h, ...] from llama.cpp's order to Hugging Face's."""
    half = weight.shape[0] // num_heads // 2
    return weight.reshape(num_heads, half, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def byte_level_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]], special: list[str]) -> Tokenizer:
    """Byte-level BPE in which every digit stands alone; `special` tokens are recognised in text and never split."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer
