"""Numbers in fewer bits.

    int8      q = round(127 v / max|v|),  scale = max|v| / 127 of a row,  v = scale q within half a step
    bfloat16  the upper half of a float32, rounded to nearest, ties to even; numpy holds its bits as uint16

Source: own.
"""

import numpy as np


def quantize(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[m, d] float32 to ([m, d] int8, scale [m] float32); a row of zeros has scale 0."""
    scale = (np.abs(vectors).max(axis=1) / np.float32(127)).astype(np.float32)
    safe = np.where(scale > 0, scale, np.float32(1))
    return np.rint(vectors / safe[:, None]).clip(-127, 127).astype(np.int8), scale


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16, uint16 of the same shape; values must be finite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The bits of bfloat16, uint16, to float32 of the same shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
