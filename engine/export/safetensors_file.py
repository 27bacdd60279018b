"""A .safetensors file written a tensor at a time, so that a model is never held twice.

    8 bytes: length of the header | header: JSON of names, dtypes, shapes and places, padded with blanks | tensors, no gaps

The header ends at a multiple of 64 bytes; tensors whose sizes are multiples of it stay aligned to a cache line.
Source: the safetensors format, version 0.4.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_ALIGNMENT = 64
_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int8: "I8",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor that is made when its turn comes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]

    @property
    def num_bytes(self) -> int:
        return self.dtype.itemsize * int(torch.Size(self.shape).numel())


def write_safetensors(path: Path, tensors: list[Planned], metadata: dict[str, str]) -> None:
    """Write `tensors` in the order given, those whose size keeps the alignment first."""
    ordered = sorted(tensors, key=lambda tensor: tensor.num_bytes % _ALIGNMENT != 0)
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for tensor in ordered:
        start, end = end, end + tensor.num_bytes
        header[tensor.name] = {"dtype": _NAMES[tensor.dtype], "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in ordered:
            made = tensor.make()
            if (made.dtype, tuple(made.shape)) != (tensor.dtype, tensor.shape):
                raise AssertionError(
                    f"{tensor.name}: planned {tensor.dtype} {tensor.shape}, made {made.dtype} {made.shape}"
                )
            file.write(made.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
