"""What comes back when items may fail alone."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Failure:
    """One item that could not be embedded."""

    row: int
    name: str
    # "read" (file, decoding, resampling) or "encode" (the model).
    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of the items that went well, and the failures of those that did not."""

    # [m, d] float32.
    vectors: np.ndarray
    # The position in the input of each vector, ascending.
    rows: list[int]
    # Seconds of sound embedded for each vector.
    durations_s: list[float]
    failures: list[Failure]
