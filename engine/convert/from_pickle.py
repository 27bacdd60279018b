"""A checkpoint in a pickle (`pytorch_model.bin`, `.pt`) as safetensors, tensor by tensor.

The pickle is read once, memory-mapped, by torch's restricted reader, which runs no code; every tensor goes to the file
when its turn comes, so a model is never held whole. Tensors that share memory, as tied ones do, are each written whole.

Source: own.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelError
from ..export.tensor_file import DTYPE_NAMES, TensorFile
from .folder import build_once

FILE = "model.safetensors"
# What the reader trips over when bytes that are no pickle are taken for one.
_UNREADABLE = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, pickle.UnpicklingError,
)  # fmt: skip
# A training script's wrapping of its model, taken off if it is all there is.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


def convert_pickle(sources: list[Path], out: Path) -> Path:
    """Write a folder with `model.safetensors`, beside the JSON and text files that stood beside the first pickle.

    Args:
        sources: one pickle, or all shards of one model.
        out: folder to make; it must not exist.

    Returns: `out`.

    Raises:
        ModelError: a source is no pickle of tensors, two hold the same name, something in one is no tensor (it is
            named), or `out` is there already.
    """
    if out.exists():
        raise ModelError(f"{out}: is there already; wanted a folder that can be made")
    tensors: dict[str, torch.Tensor] = {}
    for source in sources:
        for name, tensor in _tensors(source):
            if name in tensors:
                raise ModelError(f"{source}: {name} was in an earlier file too")
            tensors[name] = tensor
    specs = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}

    def build(folder: Path) -> None:
        for beside in sorted(sources[0].parent.iterdir()):
            if beside.suffix in (".json", ".txt") and not beside.name.endswith(".index.json"):
                (folder / beside.name).write_bytes(beside.read_bytes())
        with TensorFile(folder / FILE, specs) as file:
            for name, tensor in tensors.items():
                file.write(name, tensor)

    return build_once(out, build)


def read_pickle(source: Path, allowed: list[Any] | None = None) -> Any:
    """What a pickle holds, memory-mapped; no code in it is run.

    Args:
        allowed: as torch.serialization.safe_globals.

    Raises:
        ModelError: no pickle, a damaged one, or one that asks for a class that is not allowed.
    """
    try:
        with torch.serialization.safe_globals(allowed or []):
            try:
                return torch.load(source, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                # Files of torch before 1.6 cannot be mapped.
                if "mmap" not in str(error):
                    raise
                return torch.load(source, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        first_line = "".join(str(error).strip().splitlines()[:1])
        raise ModelError(f"{source}: cannot be read as a checkpoint of tensors: {first_line}") from None


def _tensors(source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    held = read_pickle(source)
    while isinstance(held, Mapping) and len(held) == 1 and next(iter(held)) in _WRAPPERS:
        held = next(iter(held.values()))
    if not isinstance(held, Mapping) or not held:
        raise ModelError(f"{source}: holds {_kind(held)}, wanted tensors by name")
    others = {str(name): value for name, value in held.items() if not isinstance(value, torch.Tensor)}
    if others:
        listed = ", ".join(f"{name} ({_kind(value)})" for name, value in sorted(others.items())[:8])
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        raise ModelError(f"{source}: wanted nothing but tensors by name, got {listed}{more}")
    for name, tensor in held.items():
        if tensor.dtype not in DTYPE_NAMES or tensor.layout != torch.strided:
            raise ModelError(
                f"{source}: {name} is {tensor.dtype} in {tensor.layout}, which safetensors has no form for"
            )
        yield str(name), tensor


def _kind(value: object) -> str:
    return ("an empty " if isinstance(value, Mapping) and not value else "") + type(value).__name__
