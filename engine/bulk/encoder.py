"""What a bulk run needs of a model; `Embedder` has it.

Source: own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import FingerprintError
from ..audio import Waveform


class Describable(Protocol):
    """A fingerprint: equal ids, equal vectors."""

    @property
    def id(self) -> str: ...

    def to_dict(self) -> Mapping[str, Any]: ...


class Encoder(Protocol):
    """A model that embeds sounds one by one or together, with the same result."""

    @property
    def fingerprint(self) -> Describable: ...

    @property
    def dim(self) -> int: ...

    @property
    def read_limit_s(self) -> float | None:
        """Seconds of a sound beyond which nothing more has to be read; None: all of it counts."""
        ...

    def load_clip(self, source: Any, name: str) -> Waveform:
        """A sound as the model wants it: at its rate, of an allowed length. Raises AudioError."""
        ...

    def encode_clips(
        self, clips: Sequence[Waveform], *, instruction: str | None = None
    ) -> np.ndarray | Sequence[np.ndarray]:
        """What `load_clip` gave as vectors [n, d] float32, or as audio tokens, an array [tokens, d] a clip."""
        ...


MakeEncoder = Callable[[], Encoder]
# Called with the model, tells how to load it again.
MadeWith = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a run keeps of its model."""

    # Its "id" is compared, the rest says what it stands for.
    fingerprint: dict[str, Any]
    dim: int
    made_with: dict[str, Any]
    # What it runs on, in words; for people.
    device: str = "unknown"

    @classmethod
    def of(cls, encoder: Encoder, made_with: MadeWith | None, instruction: str | None) -> "ModelInfo":
        """Raises InputError for what the model refuses whatever the sound, such as an instruction."""
        encoder.encode_clips([], instruction=instruction)
        told = {"id": encoder.fingerprint.id, **encoder.fingerprint.to_dict()}
        return cls(told, encoder.dim, {} if made_with is None else dict(made_with(encoder)), _device_name(encoder))

    def require(self, encoder: Encoder, where: str) -> None:
        """Raise FingerprintError if a model loaded elsewhere is not this one."""
        if encoder.fingerprint.id != self.fingerprint["id"]:
            raise FingerprintError(
                f"{where}: loads a model of fingerprint {encoder.fingerprint.id}; the run is of {self.fingerprint['id']}"
            )


def _device_name(encoder: Encoder) -> str:
    device = getattr(getattr(encoder, "model", None), "device", None)
    if getattr(device, "type", None) != "cuda":
        return "unknown" if device is None else str(device)
    from torch import cuda

    return f"{device} ({cuda.get_device_name(device)})"
