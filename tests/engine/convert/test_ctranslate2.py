"""A CTranslate2 file written here, byte by byte, is read back under Hugging Face names."""

import struct

import numpy as np
import pytest

from harken.engine.convert.ctranslate2 import read_ctranslate2, whisper_encoder
from harken.errors import ModelError

WIDTH, MELS, HIDDEN = 4, 3, 8
KINDS = {np.dtype("f4"): 0, np.dtype("i1"): 1, np.dtype("f2"): 4}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def ct2_file(tensors: dict[str, np.ndarray], aliases: dict[str, str] | None = None, version: int = 6) -> bytes:
    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        out += text(name) + struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        out += struct.pack("<BI", KINDS[tensor.dtype], tensor.nbytes) + tensor.tobytes()
    aliases = aliases or {}
    return out + struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases.items())


def encoder(dtype: str = "f4", key_bias: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1/weight": (WIDTH, MELS, 3), "conv1/bias": (WIDTH,), "conv2/weight": (WIDTH, WIDTH, 3), "conv2/bias": (WIDTH,),
        "position_encodings/encodings": (10, WIDTH), "layer_norm/gamma": (WIDTH,), "layer_norm/beta": (WIDTH,),
        "layer_0/self_attention/layer_norm/gamma": (WIDTH,), "layer_0/self_attention/layer_norm/beta": (WIDTH,),
        "layer_0/self_attention/linear_0/weight": (3 * WIDTH, WIDTH), "layer_0/self_attention/linear_0/bias": (3 * WIDTH,),
        "layer_0/self_attention/linear_1/weight": (WIDTH, WIDTH), "layer_0/self_attention/linear_1/bias": (WIDTH,),
        "layer_0/ffn/layer_norm/gamma": (WIDTH,), "layer_0/ffn/layer_norm/beta": (WIDTH,),
        "layer_0/ffn/linear_0/weight": (HIDDEN, WIDTH), "layer_0/ffn/linear_0/bias": (HIDDEN,),
        "layer_0/ffn/linear_1/weight": (WIDTH, HIDDEN), "layer_0/ffn/linear_1/bias": (WIDTH,),
    }  # fmt: skip
    tensors = {f"encoder/{name}": rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    tensors["encoder/layer_0/self_attention/linear_0/bias"][WIDTH : 2 * WIDTH] = key_bias
    return tensors


def test_every_tensor_comes_back_under_its_new_name():
    tensors = encoder("f2")
    data = ct2_file(tensors | {"decoder/unused": np.zeros((2, 2), "f4")})
    state = whisper_encoder(read_ctranslate2([data[:100], data[100:]], "x"), "x")
    fused = tensors["encoder/layer_0/self_attention/linear_0/weight"]
    for i, name in enumerate("qkv"):
        np.testing.assert_array_equal(
            state[f"layers.0.self_attn.{name}_proj.weight"], fused[i * WIDTH : (i + 1) * WIDTH].astype("f4")
        )
    assert "layers.0.self_attn.k_proj.bias" not in state
    np.testing.assert_array_equal(
        state["layers.0.final_layer_norm.weight"], tensors["encoder/layer_0/ffn/layer_norm/gamma"].astype("f4")
    )
    # Two convolutions and the last norm (6), positions (1), 15 of the layer.
    assert len(state) == 22 and all(tensor.dtype == np.float32 for tensor in state.values())


def test_eight_bit_weights_are_scaled_by_row():
    tensors = encoder()
    name = "encoder/layer_0/ffn/linear_0/weight"
    tensors[name] = np.arange(HIDDEN * WIDTH, dtype="i1").reshape(HIDDEN, WIDTH)
    tensors[name + "_scale"] = np.linspace(1, 4, HIDDEN, dtype="f4")
    state = whisper_encoder(read_ctranslate2([ct2_file(tensors)], "x"), "x")
    np.testing.assert_allclose(state["layers.0.fc1.weight"][3], tensors[name][3] / tensors[name + "_scale"][3])


def test_an_alias_is_the_tensor_it_names():
    tensors = read_ctranslate2([ct2_file({"a": np.ones(2, "f4")}, {"b": "a"})], "x")
    np.testing.assert_array_equal(tensors["b"], tensors["a"])


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_a_file_cut_short_is_named(cut):
    with pytest.raises(ModelError, match="model.bin: ends at byte"):
        read_ctranslate2([ct2_file(encoder())[:-cut]], "model.bin")


def test_a_later_format_is_refused():
    with pytest.raises(ModelError, match="version 99"):
        read_ctranslate2([ct2_file({}, version=99)], "model.bin")


def test_a_bias_on_k_is_refused():
    with pytest.raises(ModelError, match="bias on k"):
        whisper_encoder(read_ctranslate2([ct2_file(encoder(key_bias=0.5))], "x"), "x")


def test_another_kind_of_model_is_refused():
    with pytest.raises(ModelError, match="is this a Whisper model"):
        whisper_encoder(read_ctranslate2([ct2_file({"decoder/x": np.ones(1, "f4")})], "x"), "x")
