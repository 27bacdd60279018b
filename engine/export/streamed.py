"""An Embedder that holds one layer at a time: golden vectors and activation ranges of models larger than memory.

Slow where many batches are run, because every batch reads every layer again. Source: own.
"""

import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..embedder import Embedder
from ..load import Source, embedder_of
from ..models.config import TowerConfig, read_json
from ..models.dasheng import DashengLayer, DashengTower
from ..models.decoder import DecoderLayer
from ..models.load import ARCHITECTURES
from ..models.mllm import AudioLM
from ..models.whisper import TowerLayer
from .merged import StreamedWeights

_LATER = re.compile(r"^(decoder\.layers|audio_tower\.(layers|blocks))\.\d+\.")
_TABLE = "decoder.embed_tokens.weight"
# All texts and sounds of an export go through the layers together.
_BATCH_TOKENS = 8192

# Told of each decoder layer when it is built: its number and the layer.
OnBuilt = Callable[[int, nn.Module], None]


def streamed_embedder(source: Source, on_built: OnBuilt | None = None) -> Embedder:
    """The Embedder of `source` in float32 on the CPU.

    Args:
        source: of an AudioLM; a model of two encoders is small and is read whole.
        on_built: may hang hooks on a layer.

    Raises:
        ModelError: as `harken.load`, but for tensors of the adapter that find no place.
    """
    weights = _Skeleton(source.folder, adapter=source.adapter, dtype=torch.float32)
    module = import_module(f"..models.{ARCHITECTURES[source.kind]}", __package__)
    if ARCHITECTURES[source.kind] == "dual":
        weights.later = False
    model = module.build(source.folder, read_json(source.folder / "config.json"), weights)
    weights.finish()
    if isinstance(model, AudioLM):
        _fill_later(model, StreamedWeights(source.folder, adapter=source.adapter, dtype=torch.float32), on_built)
    return embedder_of(model, source, dtype="float32", batch_tokens=_BATCH_TOKENS)


class _Skeleton(StreamedWeights):
    """Gives the tensors of layers, and the table of tokens, without numbers."""

    later = True

    def take(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        if not self.later or name not in self or not (name == _TABLE or _LATER.match(name)):
            return super().take(name, *shape, dtype=dtype)
        self._unread.discard(name)
        if self.shape(name) != shape:
            self._problems.append(f"{name} has shape {self.shape(name)}, wanted {shape}")
        if name == _TABLE:
            return torch.empty(0, *shape[1:], dtype=self._dtype)
        return torch.empty(shape, dtype=self._dtype, device="meta")

    def finish(self) -> None:
        """As Weights.finish, but the adapter's use shows only when the layers are read."""
        self._adapter = None
        super().finish()


class _Slot:
    """Holds the layer that was built last."""

    def __init__(self) -> None:
        self._holder: nn.Module | None = None
        self._layer: nn.Module | None = None

    def layer(self, holder: nn.Module, build: Callable[[], nn.Module]) -> Any:
        if self._holder is not holder:
            self._layer = None
            self._holder, self._layer = holder, build()
        return self._layer


class _Later(nn.Module):
    """A layer that is read when it is used."""

    def __init__(self, slot: _Slot, build: Callable[[], nn.Module], scale: float | None = None) -> None:
        super().__init__()
        self._slot, self._build, self.scale = slot, build, scale

    def forward(self, *args: Any) -> torch.Tensor:
        return self._slot.layer(self, self._build)(*args)

    def project(self, *args: Any) -> Any:
        return self._slot.layer(self, self._build).project(*args)

    def finish(self, *args: Any) -> torch.Tensor:
        return self._slot.layer(self, self._build).finish(*args)


def _fill_later(model: AudioLM, weights: StreamedWeights, on_built: OnBuilt | None) -> None:
    slot = _Slot()
    decoder = model.decoder
    table = weights.raw(_TABLE)
    decoder.embed = lambda token_ids_N: F.embedding(token_ids_N, table).float()  # type: ignore[method-assign]

    def decoder_layer(number: int) -> nn.Module:
        layer = DecoderLayer(weights, f"decoder.layers.{number}", decoder.config)
        if on_built is not None:
            on_built(number, layer)
        return layer

    for i in range(decoder.config.num_layers):
        decoder.layers[i] = _Later(slot, partial(decoder_layer, i), decoder.config.head_width**-0.5)
    tower: Any = model.tower
    for i, layer in enumerate(tower.layers):
        build: Callable[[], nn.Module]
        if isinstance(tower, DashengTower):
            build = partial(DashengLayer, weights, f"audio_tower.blocks.{i}", tower.config)
        else:
            build = partial(TowerLayer, weights, f"audio_tower.layers.{i}", _sizes(layer))
        tower.layers[i] = _Later(slot, build)


def _sizes(layer: TowerLayer) -> TowerConfig:
    """What a layer needs to know of its tower."""
    mlp_width, width = layer.fc1.weight.shape
    return TowerConfig(
        num_mels=0, width=width, num_layers=0, num_heads=layer.num_heads, mlp_width=mlp_width, max_positions=0
    )
