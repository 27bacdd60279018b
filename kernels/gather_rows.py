"""Rows of one packed tensor written into another at given places: audio tokens into the token stream.

    stream[places[a]] = rows[a]

Source: own. Beside this file: gather_rows_triton.py.
"""

import torch

from ..errors import InputError
from .backend import pick
from .checks import FLOATS, check_tensor

# N rows of the stream, A rows to place, W width.


def gather_rows(
    stream_NW: torch.Tensor, rows_AW: torch.Tensor, places_A: torch.Tensor, *, backend: str | None = None
) -> torch.Tensor:
    """Write rows into the stream, in place and in order.

    Args:
        stream_NW: [N, W] float32, float16 or bfloat16, changed in place; rows may be strided.
        rows_AW: [A, W], dtype of the stream.
        places_A: [A] int64 ON THE CPU, where a batch is planned: strictly rising rows of the stream.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: stream_NW.
    Raises:  InputError: wrong shape, dtype or device, or places out of range or order.
    """
    check_tensor("gather_rows", "stream_NW", stream_NW, ("N", "W"), FLOATS)
    N, W = stream_NW.shape
    check_tensor("gather_rows", "rows_AW", rows_AW, ("A", W), (stream_NW.dtype,), stream_NW.device)
    check_tensor("gather_rows", "places_A", places_A, (rows_AW.shape[0],), (torch.int64,), torch.device("cpu"))
    if len(places_A) and (int(places_A[0]) < 0 or int(places_A[-1]) >= N or bool((places_A.diff() <= 0).any())):
        raise InputError(f"gather_rows: places_A must rise strictly within 0..{N - 1}, got {places_A.tolist()[:8]}...")
    if pick(backend, stream_NW) == "triton":
        from .gather_rows_triton import gather_rows_triton

        with torch.cuda.device_of(stream_NW):
            return gather_rows_triton(stream_NW, rows_AW, places_A.to(stream_NW.device, non_blocking=True))
    return stream_NW.index_copy_(0, places_A.to(stream_NW.device), rows_AW)
