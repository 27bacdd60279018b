"""A checkpoint with its adapter merged, one tensor at a time, so that a model of any size goes through little memory.

`MergedCheckpoint` gives every tensor by the name it has in the files, used or not; `StreamedWeights` gives those that
harken runs, by canonical name. Files are mapped only while one of their tensors is read.

Source: own; the merge itself is models/adapter.py's.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ...errors import ModelError
from ..models.adapter import Adapter
from ..models.names import canonical
from ..models.weights import Weights, checkpoint_files
from .tensor_file import DTYPES


class MergedCheckpoint:
    """All tensors of a checkpoint folder, in the order of the files.

    Args:
        folder: in Hugging Face layout.
        adapter: merged in float32 and cast once to the checkpoint's dtype; None: tensors are given as they are.

    Raises:
        ModelError: files that cannot be read, or that hold an adapter's tensors beside the model's.
    """

    def __init__(self, folder: Path, adapter: Path | None) -> None:
        self.folder = folder
        self._adapter = None if adapter is None else Adapter(adapter)
        # Name -> dtype and shape, file by file.
        self.files: dict[Path, dict[str, tuple[torch.dtype, tuple[int, ...]]]] = {}
        for file in checkpoint_files(folder):
            self.files[file] = _specs(file)
        adapted = sorted(name for specs in self.files.values() for name in specs if ".lora_" in name)
        if adapted:
            raise ModelError(
                f"{folder}: holds an adapter that was never merged ({adapted[0]} and {len(adapted) - 1} more); save the "
                "adapter as a folder of its own and give it with --adapter"
            )

    def tensors(self, file: Path) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of one file, merged, in their own dtype."""
        for name, (dtype, _) in self.files[file].items():
            yield name, self._merged(name, _Reopened(file).get_tensor(name)).to(dtype)

    def _merged(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        known = None if self._adapter is None else canonical(name)
        return tensor if self._adapter is None or known is None else self._adapter.apply(known, tensor)

    def finish(self) -> None:
        """Raise a ModelError if the adapter has a tensor that found no place."""
        if self._adapter is not None:
            self._adapter.check_all_used()


class StreamedWeights(Weights):
    """Weights whose files are mapped only while a tensor is read; arguments as there."""

    def __init__(self, folder: Path, *, adapter: Path | None, dtype: torch.dtype) -> None:
        super().__init__(folder, adapter=None if adapter is None else Adapter(adapter), dtype=dtype, device="cpu")
        self._places = {}
        for file in checkpoint_files(folder):
            reopened = _Reopened(file)
            for key in _specs(file):
                if (name := canonical(key)) is not None:
                    self._places[name] = (reopened, key)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that is there."""
        reopened, key = self._places[name]
        return tuple(reopened.get_slice(key).get_shape())

    def raw(self, name: str) -> torch.Tensor:
        """A tensor in the checkpoint's dtype and on the disk, unless the adapter changes it."""
        reopened, key = self._places[name]
        tensor = reopened.get_tensor(key)
        self._unread.discard(name)
        return tensor if self._adapter is None else self._adapter.apply(name, tensor)


class _Reopened:
    """A file that is opened for each tensor: what was mapped goes with the tensor."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get_tensor(self, key: str) -> torch.Tensor:
        with safe_open(self._file, framework="pt") as handle:
            return handle.get_tensor(key)

    def get_slice(self, key: str):  # type: ignore[no-untyped-def]  # safetensors gives its class no name
        with safe_open(self._file, framework="pt") as handle:
            return handle.get_slice(key)


def _specs(file: Path) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    try:
        with safe_open(file, framework="pt") as handle:
            found = {}
            for name in handle.offset_keys():
                piece = handle.get_slice(name)
                found[name] = (DTYPES[piece.get_dtype()], tuple(piece.get_shape()))
            return found
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: cannot be read as safetensors: {error}") from None
    except KeyError as error:
        raise ModelError(f"{file}: has a tensor of dtype {error}, which cannot be exported") from None
