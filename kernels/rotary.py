"""Rotary position embedding of packed queries and keys, in the half-split layout of Llama and Qwen2.

    y[d] = x[d] cos[d] - x[d + D/2] sin[d],   y[d + D/2] = x[d + D/2] cos[d] + x[d] sin[d],   d < D/2
    cos[n, d], sin[n, d] of the angle position[n] / theta^(2d/D)

Source: Su et al., "RoFormer", eq. 34, with the pairing (d, d + D/2). Beside this file: rotary_triton.py.
"""

import torch

from ..errors import InputError
from .backend import pick
from .checks import FLOATS, check_tensor

# N rows, M rows of q, H query heads, G key heads, D head width, P = D / 2.


def rotary_table(
    positions_N: torch.Tensor, inverse_frequencies_P: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [N, P] of every position, computed in float32 and rounded to dtype, once for all layers."""
    angles_NP = positions_N.float()[:, None] * inverse_frequencies_P.float()
    return angles_NP.cos().to(dtype), angles_NP.sin().to(dtype)


def rotary(
    q_MHD: torch.Tensor,
    k_NGD: torch.Tensor,
    cos_NP: torch.Tensor,
    sin_NP: torch.Tensor,
    *,
    q_rows_M: torch.Tensor | None = None,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate queries and keys, in one launch.

    Args:
        q_MHD: [M, H, D]; rows and heads may be strided (a slice of a fused projection). M = N without q_rows_M.
        k_NGD: [N, G, D], dtype of q; G need not be H.
        cos_NP, sin_NP: [N, D/2] from `rotary_table`, dtype of q.
        q_rows_M: [M] int64, which of the N rows the queries are; None: all, in order.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: rotated q and k, contiguous, same shapes and dtype.
    Raises:  InputError: an argument of the wrong shape, dtype or device, or an odd head width.
    """
    check_tensor("rotary", "k_NGD", k_NGD, ("N", "G", "D"), FLOATS)
    N, _, D = k_NGD.shape
    num_queries = N if q_rows_M is None else q_rows_M.shape[0]
    check_tensor("rotary", "q_MHD", q_MHD, (num_queries, "H", D), (k_NGD.dtype,), k_NGD.device)
    if D % 2:
        raise InputError(f"rotary: k_NGD must have an even head width, got {D}")
    for name, table in (("cos_NP", cos_NP), ("sin_NP", sin_NP)):
        check_tensor("rotary", name, table, (N, D // 2), (k_NGD.dtype,), k_NGD.device)
    if q_rows_M is not None:
        check_tensor("rotary", "q_rows_M", q_rows_M, ("M",), (torch.int64,), k_NGD.device)
    if pick(backend, k_NGD) == "triton":
        from .rotary_triton import rotary_triton

        with torch.cuda.device_of(k_NGD):
            return rotary_triton(q_MHD, k_NGD, cos_NP, sin_NP, q_rows_M)
    k_out = rotate_reference(k_NGD, cos_NP, sin_NP)
    if q_rows_M is not None:
        cos_NP, sin_NP = cos_NP[q_rows_M], sin_NP[q_rows_M]
    return rotate_reference(q_MHD, cos_NP, sin_NP), k_out


def rotate_reference(x_NHD: torch.Tensor, cos_NP: torch.Tensor, sin_NP: torch.Tensor) -> torch.Tensor:
    """Every product and the sum rounded to the dtype of x, as plain PyTorch does."""
    cos, sin = torch.cat([cos_NP, cos_NP], -1)[:, None], torch.cat([sin_NP, sin_NP], -1)[:, None]
    first, second = x_NHD.chunk(2, -1)
    return x_NHD * cos + torch.cat([-second, first], -1) * sin
