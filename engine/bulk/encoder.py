"""What a bulk run needs of a model; `Embedder` has it.

Source: own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

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

    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> np.ndarray:
        """Vectors [n, d] float32 of what `load_clip` gave."""
        ...
