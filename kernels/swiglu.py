"""SwiGLU of the fused gate-and-up product.

    y[n, f] = silu(x[n, f]) * x[n, F + f],   silu(g) = g / (1 + exp(-g))

Source: Shazeer, "GLU Variants Improve Transformer", eq. 6. Beside this file: swiglu_triton.py.
"""

import torch
import torch.nn.functional as functional

from ..errors import InputError
from .backend import pick
from .checks import FLOATS, check_tensor

# N rows, F width of the MLP, E = 2 F.


def swiglu(gate_up_NE: torch.Tensor, *, backend: str | None = None) -> torch.Tensor:
    """Gate one half of every row by the other.

    Args:
        gate_up_NE: [N, 2 F] float32, float16 or bfloat16, gate first; rows may be strided.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: [N, F], dtype of the argument; silu is rounded to it before the product, as plain PyTorch does.
    Raises:  InputError: wrong shape or dtype, or an odd width.
    """
    check_tensor("swiglu", "gate_up_NE", gate_up_NE, ("N", "2 F"), FLOATS)
    if gate_up_NE.shape[1] % 2:
        raise InputError(f"swiglu: gate_up_NE must have an even width, got {gate_up_NE.shape[1]}")
    if pick(backend, gate_up_NE) == "triton":
        from .swiglu_triton import swiglu_triton

        with torch.cuda.device_of(gate_up_NE):
            return swiglu_triton(gate_up_NE)
    return swiglu_reference(gate_up_NE)


def swiglu_reference(gate_up_NE: torch.Tensor) -> torch.Tensor:
    gate, up = gate_up_NE.chunk(2, -1)
    return functional.silu(gate) * up
