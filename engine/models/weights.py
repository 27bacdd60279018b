"""Tensors of a checkpoint folder by canonical name, read from memory-mapped safetensors as they are asked for.

A model is built by asking for each tensor with the shape it must have. What was missing, misshapen or left over is
told at the end in one error, with the whole list.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ...errors import ModelError
from .adapter import Adapter, AdapterStack
from .names import canonical

# Tensors that may stay unread: the language head is only used by the reranker.
_OPTIONAL = ("lm_head.",)


class Weights:
    """The tensors of one checkpoint, with an adapter merged in.

    Args:
        folder: holds `model.safetensors`, or shards with `model.safetensors.index.json`.
        adapter: merged into each tensor in float32 before the cast to `dtype`; None: as they are.
        dtype: of every tensor handed out.
        device: where they are put; "meta": nothing is read but the shapes.

    Raises:
        ModelError: no safetensors, or one that is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        adapter: Adapter | AdapterStack | None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.folder = Path(folder)
        self._adapter, self._dtype, self._device = adapter, dtype, torch.device(device)
        self._places: dict[str, tuple[Any, str]] = {}
        for file in checkpoint_files(self.folder):
            try:
                handle = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ModelError(f"{file}: cannot be read as safetensors: {error}") from None
            for key in handle.keys():
                name = canonical(key)
                if name is not None:
                    self._places[name] = (handle, key)
        self._unread = {name for name in self._places if not name.startswith(_OPTIONAL)}
        self._problems: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self._places if name.startswith(prefix))

    def take(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The tensor `name` with `shape`, adapted, cast and placed. A problem is noted for `finish` and answered by zeros."""
        dtype = self._dtype if dtype is None else dtype
        if name not in self._places:
            self._problems.append(f"missing {name} {shape}")
            return torch.zeros(shape, dtype=dtype, device=self._device)
        self._unread.discard(name)
        handle, key = self._places[name]
        got = tuple(handle.get_slice(key).get_shape())
        if got != shape:
            self._problems.append(f"{name} has shape {got}, wanted {shape}")
            return torch.zeros(shape, dtype=dtype, device=self._device)
        if self._device.type == "meta":
            return torch.empty(shape, dtype=dtype, device=self._device)
        tensor = handle.get_tensor(key)
        if self._adapter is not None:
            tensor = self._adapter.apply(name, tensor)
        return tensor.to(self._device, dtype)

    def take_optional(self, name: str, *shape: int) -> torch.Tensor | None:
        return self.take(name, *shape) if name in self else None

    def stack(self, names: list[str], shapes: list[tuple[int, ...]]) -> torch.Tensor:
        """Several tensors one above the other, so that one product serves them all."""
        return torch.cat([self.take(name, *shape) for name, shape in zip(names, shapes)])

    def finish(self) -> None:
        """Raise a ModelError if anything was missing, misshapen or left over."""
        problems = self._problems + [f"left over {name}" for name in sorted(self._unread)]
        if problems:
            raise ModelError(f"{self.folder}: the checkpoint does not fit the model:\n  " + "\n  ".join(problems))
        if self._adapter is not None and self._device.type != "meta":
            self._adapter.check_all_used()


def checkpoint_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder, in a fixed order."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{index}: is no index of safetensors shards: {error!r}") from None
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt"))
        hint = f"; {pickles} are pickles, which are not loaded" if pickles else ""
        raise ModelError(f"{folder}: {', '.join(missing)} is missing{hint}")
    return files
