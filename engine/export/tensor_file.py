"""A safetensors file written tensor by tensor: the header first, from names, dtypes and shapes, then each tensor at its place.

Source: the safetensors format: 8 bytes of header length, a JSON header padded with blanks, the tensors end to end.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from ...errors import ModelError

# Where the first tensor begins: at a cache line, also when the file is mapped.
ALIGNMENT = 64

# Name -> dtype and shape.
Specs = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


class TensorFile:
    """One file, open for writing; a context manager that refuses to end with a tensor missing.

    Args:
        path: of the file.
        specs: of all tensors, in the order in which they lie.
        metadata: strings of the header's `__metadata__`.
    """

    def __init__(self, path: Path, specs: Specs, metadata: dict[str, str] | None = None) -> None:
        self.path, self._specs = path, dict(specs)
        self._unwritten = set(self._specs)
        header: dict[str, object] = {"__metadata__": metadata or {"format": "pt"}}
        self._offsets: dict[str, int] = {}
        end = 0
        for name, (dtype, shape) in self._specs.items():
            first, end = end, end + num_bytes(dtype, shape)
            self._offsets[name] = first
            header[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [first, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % ALIGNMENT)
        self._file = open(path, "wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._start = 8 + len(text)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Put one tensor where it belongs.

        Raises:
            ModelError: another dtype or shape than the header says, or a name it does not have.
        """
        wanted = self._specs.get(name)
        if wanted != (tensor.dtype, tuple(tensor.shape)):
            raise ModelError(f"{self.path}: {name} is {tensor.dtype} {tuple(tensor.shape)}, wanted {wanted}")
        self._file.seek(self._start + self._offsets[name])
        self._file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._unwritten.discard(name)

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._unwritten:
            raise ModelError(f"{self.path}: {sorted(self._unwritten)} were never written")


def num_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    """What a tensor takes in a file."""
    return dtype.itemsize * torch.Size(shape).numel()


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor that is made when its turn comes, so that a model is never held twice."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.dtype, self.shape)


def write_planned(path: Path, tensors: Sequence[Planned], metadata: dict[str, str]) -> None:
    """Write tensors one at a time, those first whose size keeps the next one at a cache line."""
    ordered = sorted(tensors, key=lambda tensor: tensor.num_bytes % ALIGNMENT != 0)
    specs = {tensor.name: (tensor.dtype, tensor.shape) for tensor in ordered}
    with TensorFile(path, specs, metadata) as file:
        for tensor in ordered:
            file.write(tensor.name, tensor.make())
