"""Vectors in 8 bits, a scale a row.

    q = round(127 v / max|v|),  scale = max|v| / 127,  v = scale q within half a step

Source: own.
"""

import numpy as np


def quantize(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[m, d] float32 to ([m, d] int8, scale [m] float32); a row of zeros has scale 0."""
    scale = (np.abs(vectors).max(axis=1) / np.float32(127)).astype(np.float32)
    safe = np.where(scale > 0, scale, np.float32(1))
    return np.rint(vectors / safe[:, None]).clip(-127, 127).astype(np.int8), scale
