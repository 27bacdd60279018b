"""RMS norm of rows, alone or after adding a residual.

    s = x + residual (rounded to x's dtype)        y[n] = round(s[n] / sqrt(mean(s[n]^2) + eps)) * weight

Mean and quotient are float32, the quotient is rounded to x's dtype before the weight, as Qwen2 and Llama do.
Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", eq. 4. Beside this file: rmsnorm_triton.py.
"""

import torch

from .backend import pick
from .checks import FLOATS, check_tensor

# N rows, W width.


def rmsnorm(x_NW: torch.Tensor, weight_W: torch.Tensor, eps: float, *, backend: str | None = None) -> torch.Tensor:
    """Normalise rows.

    Args:
        x_NW: [N, W] float32, float16 or bfloat16; rows may be strided.
        weight_W: [W], dtype of x.
        eps: added to the mean square.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: [N, W], dtype of x.
    Raises:  InputError: an argument of the wrong shape, dtype or device.
    """
    check_tensor("rmsnorm", "x_NW", x_NW, ("N", "W"), FLOATS)
    check_tensor("rmsnorm", "weight_W", weight_W, (x_NW.shape[1],), (x_NW.dtype,), x_NW.device)
    if pick(backend, x_NW) == "triton":
        from .rmsnorm_triton import rmsnorm_triton

        with torch.cuda.device_of(x_NW):
            return rmsnorm_triton(x_NW, None, weight_W, eps)[0]
    return rmsnorm_reference(x_NW, weight_W, eps)


def add_rmsnorm(
    x_NW: torch.Tensor, residual_NW: torch.Tensor, weight_W: torch.Tensor, eps: float, *, backend: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add a residual and normalise the sum, in one pass over memory.

    Args:     as `rmsnorm`; residual_NW: [N, W], dtype of x.
    Returns:  (normalised sum, sum), both [N, W].
    Raises:   InputError: an argument of the wrong shape, dtype or device.
    """
    check_tensor("add_rmsnorm", "x_NW", x_NW, ("N", "W"), FLOATS)
    check_tensor("add_rmsnorm", "residual_NW", residual_NW, tuple(x_NW.shape), (x_NW.dtype,), x_NW.device)
    check_tensor("add_rmsnorm", "weight_W", weight_W, (x_NW.shape[1],), (x_NW.dtype,), x_NW.device)
    if pick(backend, x_NW) == "triton":
        from .rmsnorm_triton import rmsnorm_triton

        with torch.cuda.device_of(x_NW):
            return rmsnorm_triton(x_NW, residual_NW, weight_W, eps)
    sum_NW = x_NW + residual_NW
    return rmsnorm_reference(sum_NW, weight_W, eps), sum_NW


def rmsnorm_reference(x_NW: torch.Tensor, weight_W: torch.Tensor, eps: float) -> torch.Tensor:
    """In float32, or in float64 for float64 rows; any leading dimensions."""
    wide = x_NW if x_NW.dtype == torch.float64 else x_NW.float()
    return weight_W * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x_NW.dtype)
