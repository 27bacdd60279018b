"""A CTranslate2 model file read without CTranslate2, and its Whisper encoder under Hugging Face names.

    file    = u32 version, str spec, u32 revision, u32 count, count x tensor, [version >= 3: u32 count, count x (str, str)]
    tensor  = str name, u8 rank, rank x u32, u8 type, u32 bytes, data
    str     = u16 length with the closing NUL, bytes

All integers are little-endian. Fused projections are cut into q, k, v; Whisper's k has no bias, the file stores zeros.

Source: CTranslate2's model format (binary version 6 and below), checked on converted Whisper files.
"""

import struct
from collections.abc import Sequence

import numpy as np

from ...errors import ModelError

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_BFLOAT16 = 5
_MAX_VERSION = 6


class _Reader:
    """Fields one after the other; a read past the end names the file."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise ModelError(f"{self.where}: ends at byte {len(self.data)}, wanted {size} bytes at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str) -> int:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def text(self) -> str:
        return self.take(self.number("H"))[:-1].decode()


def read_ctranslate2(parts: Sequence[bytes], where: str) -> dict[str, np.ndarray]:
    """The tensors of a model file that comes in parts; aliases are resolved.

    Args:
        parts: the bytes of the file, in order.
        where: the file's name for error texts.

    Raises:
        ModelError: the file is cut short, of a later version, or holds an unknown type.
    """
    reader = _Reader(b"".join(parts), where)
    version = reader.number("I")
    if not 2 <= version <= _MAX_VERSION:
        raise ModelError(f"{where}: CTranslate2 format version {version}, wanted 2 to {_MAX_VERSION}")
    reader.text()
    reader.number("I")
    tensors: dict[str, np.ndarray] = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        kind, raw = reader.number("B"), reader.take(reader.number("I"))
        if kind == _BFLOAT16:
            tensor = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in _DTYPES:
            tensor = np.frombuffer(raw, _DTYPES[kind])
        else:
            raise ModelError(f"{where}: {name} has the unknown type {kind}")
        if tensor.size != int(np.prod(shape)):
            raise ModelError(f"{where}: {name} has {tensor.size} values, wanted shape {shape}")
        tensors[name] = tensor.reshape(shape)
    for _ in range(reader.number("I") if version >= 3 else 0):
        alias, name = reader.text(), reader.text()
        tensors[alias] = tensors[name]
    return tensors


def whisper_encoder(tensors: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The encoder's weights as float32 under the names of transformers' Whisper, without the prefix `model.encoder.`.

    Raises:
        ModelError: a tensor is missing, or the biases of k are not zero.
    """
    state: dict[str, np.ndarray] = {}

    def take(name: str) -> np.ndarray:
        if f"encoder/{name}" not in tensors:
            raise ModelError(f"{where}: encoder/{name} is missing; is this a Whisper model?")
        tensor = tensors[f"encoder/{name}"]
        if tensor.dtype == np.int8:
            scale = tensors[f"encoder/{name}_scale"].astype(np.float32)
            return tensor.astype(np.float32) / (scale[:, None] if scale.ndim else scale)
        return tensor.astype(np.float32)

    def copy(to: str, source: str, weight: str = "weight", bias: str = "bias") -> None:
        state[f"{to}.weight"], state[f"{to}.bias"] = take(f"{source}/{weight}"), take(f"{source}/{bias}")

    copy("conv1", "conv1")
    copy("conv2", "conv2")
    state["embed_positions.weight"] = take("position_encodings/encodings")
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in tensors:
        to, source = f"layers.{layer}", f"layer_{layer}"
        weights = np.split(take(f"{source}/self_attention/linear_0/weight"), 3)
        biases = np.split(take(f"{source}/self_attention/linear_0/bias"), 3)
        for name, weight, bias in zip("qkv", weights, biases):
            state[f"{to}.self_attn.{name}_proj.weight"] = weight
            if name != "k":
                state[f"{to}.self_attn.{name}_proj.bias"] = bias
            elif np.any(bias):
                raise ModelError(f"{where}: encoder layer {layer} has a bias on k, which Whisper has not")
        copy(f"{to}.self_attn.out_proj", f"{source}/self_attention/linear_1")
        copy(f"{to}.self_attn_layer_norm", f"{source}/self_attention/layer_norm", "gamma", "beta")
        copy(f"{to}.fc1", f"{source}/ffn/linear_0")
        copy(f"{to}.fc2", f"{source}/ffn/linear_1")
        copy(f"{to}.final_layer_norm", f"{source}/ffn/layer_norm", "gamma", "beta")
        layer += 1
    copy("layer_norm", "layer_norm", "gamma", "beta")
    return state
