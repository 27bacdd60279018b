"""A tiny GGUF written here gives the weights, the config and the tokenizer of a llama model."""

import json
from pathlib import Path

import numpy as np
import pytest

from harken.engine.convert.gguf import GgufLlama, byte_level_bpe, unpermute
from harken.errors import ModelError

gguf = pytest.importorskip("gguf", reason="the gguf package is not installed (pip install harken[mini])")

WIDTH, HEADS, KV_HEADS, HIDDEN = 32, 4, 2, 64
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abdgo", "do", "dog"]
# Strings and ids on which transformers' GGUF loading agrees. It leaves the splitting of digits out, so it differs on
# numerals like one half and on several blanks before a digit, where llama.cpp and this reader split.
GOLDENS = json.loads((Path(__file__).parent / "smollm2_tokens.json").read_text())


def permuted(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """What llama.cpp's converter does to q and k."""
    return weight.reshape(num_heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {
        "layers.0.self_attn.q_proj": (WIDTH, WIDTH), "layers.0.self_attn.k_proj": (WIDTH // 2, WIDTH),
        "layers.0.self_attn.v_proj": (WIDTH // 2, WIDTH), "layers.0.self_attn.o_proj": (WIDTH, WIDTH),
        "layers.0.mlp.gate_proj": (HIDDEN, WIDTH), "layers.0.mlp.up_proj": (HIDDEN, WIDTH),
        "layers.0.mlp.down_proj": (WIDTH, HIDDEN), "layers.0.input_layernorm": (WIDTH,),
        "layers.0.post_attention_layernorm": (WIDTH,), "norm": (WIDTH,), "embed_tokens": (len(TOKENS), WIDTH),
    }  # fmt: skip
    return {f"{name}.weight": rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


def write_gguf(path: Path, state: dict[str, np.ndarray], *, architecture: str = "llama", pre: str = "smollm") -> Path:
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["d o", "do g"])
    for name, tensor in state.items():
        part = name.removeprefix("layers.0.").removesuffix(".weight")
        if part in ("self_attn.q_proj", "self_attn.k_proj"):
            tensor = permuted(tensor, HEADS if "q_proj" in part else KV_HEADS)
        whole = {"norm": "output_norm", "embed_tokens": "token_embd"}
        to = f"blk.0.{names[part]}.weight" if part in names else f"{whole.get(part, part)}.weight"
        if part == "mlp.down_proj":
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(to, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(to, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_weights_come_back_in_hugging_face_order(tmp_path):
    want = tensors()
    got = GgufLlama(write_gguf(tmp_path / "x.gguf", want)).weights()
    assert set(got) == set(want)
    for name, tensor in want.items():
        # down_proj was stored in 8 bits with a scale for every 32 values.
        tolerance = np.abs(tensor).max() / 127 if "down_proj" in name else 0
        np.testing.assert_allclose(got[name], tensor, atol=tolerance, err_msg=name)


def test_unpermute_undoes_what_llama_cpp_does():
    weight = np.arange(24.0).reshape(12, 2)
    np.testing.assert_array_equal(unpermute(permuted(weight, 3), 3), weight)


def test_config_has_what_transformers_wants(tmp_path):
    config = GgufLlama(write_gguf(tmp_path / "x.gguf", tensors())).config()
    assert config["num_key_value_heads"] == KV_HEADS and config["head_dim"] == WIDTH // HEADS
    assert config["rms_norm_eps"] == 1e-5 and config["rope_theta"] == 100000.0 and config["tie_word_embeddings"]


def test_tokenizer_merges_and_knows_the_added_tokens(tmp_path):
    tokenizer = GgufLlama(write_gguf(tmp_path / "x.gguf", tensors())).tokenizer(("<|AUDIO|>",))
    assert tokenizer.encode("<|im_start|>dog<|AUDIO|>bad").tokens == ["<|im_start|>", "dog", "<|AUDIO|>", "b", "a", "d"]
    assert tokenizer.token_to_id("<|AUDIO|>") == len(TOKENS)


def test_digits_stand_alone_and_words_keep_their_blank():
    vocabulary = {token: i for i, token in enumerate(["1", "2", "Ġ", "a", "Ġa", "12"])}
    tokenizer = byte_level_bpe(vocabulary, [("1", "2"), ("Ġ", "a")], [])
    assert tokenizer.encode("12 a").tokens == ["1", "2", "Ġa"]


@pytest.mark.parametrize("text", sorted(GOLDENS))
def test_smollm2_tokens_are_those_of_transformers(text, smollm2):
    assert smollm2.encode(text, add_special_tokens=False).ids == GOLDENS[text]
    assert smollm2.decode(GOLDENS[text], skip_special_tokens=False) == text


@pytest.fixture(scope="module")
def smollm2():
    from harken.engine.convert.mini import SMOLLM2, _package_file

    try:
        path = _package_file(*SMOLLM2[:2])
    except ModelError as error:
        pytest.skip(str(error))
    return GgufLlama(path).tokenizer()


def test_another_architecture_is_refused(tmp_path):
    with pytest.raises(ModelError, match="architecture is 'qwen2'"):
        GgufLlama(write_gguf(tmp_path / "x.gguf", {}, architecture="qwen2"))


def test_another_tokenizer_is_refused(tmp_path):
    with pytest.raises(ModelError, match="wanted 'gpt2' with 'smollm'"):
        GgufLlama(write_gguf(tmp_path / "x.gguf", {}, pre="llama-bpe")).tokenizer()


def test_what_is_no_gguf_is_named(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"no gguf at all, but long enough to look at the header of")
    with pytest.raises(ModelError, match="x.gguf: cannot be read as GGUF"):
        GgufLlama(tmp_path / "x.gguf")
