"""The one check of a tensor argument that every operation makes, and the one text it fails with.

Source: own.
"""

import torch

from ..errors import InputError

HALVES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float32, *HALVES)
# What references take besides, so that a test may ask for the exact answer.
WIDE = (*FLOATS, torch.float64)
INTEGERS = (torch.int32, torch.int64)


def check_tensor(
    op: str,
    name: str,
    x: torch.Tensor,
    shape: tuple[int | str, ...],
    dtypes: tuple[torch.dtype, ...],
    device: torch.device | None = None,
    contiguous_rows: bool = True,
) -> None:
    """Refuse an argument that is not what an operation wants.

    Args:
        op, name: the operation and its argument, for the text.
        x: the argument.
        shape: a number for a length that must hold, a letter for any.
        dtypes: those allowed.
        device: where it must be; None: anywhere.
        contiguous_rows: elements of the last dimension must lie side by side.

    Raises:
        InputError: with op, name, what was wanted and what was got.
    """
    fits = x.ndim == len(shape) and all(isinstance(w, str) or w == n for w, n in zip(shape, x.shape))
    if not fits or x.dtype not in dtypes:
        wanted = f"[{', '.join(map(str, shape))}] of {' or '.join(_name(d) for d in dtypes)}"
        raise InputError(f"{op}: {name} must be {wanted}, got {list(x.shape)} of {_name(x.dtype)}")
    if device is not None and x.device != device:
        raise InputError(f"{op}: {name} is on {x.device}, wanted {device}")
    if contiguous_rows and x.ndim and x.numel() and x.shape[-1] > 1 and x.stride(-1) != 1:
        raise InputError(f"{op}: {name} must be contiguous in its last dimension, got stride {x.stride()}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
