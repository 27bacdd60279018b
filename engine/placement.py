"""Where a model runs and in what precision: the caller's words checked, with the defaults of each device.

Source: own.
"""

import torch

from ..errors import InputError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8": torch.bfloat16,  # of what stays outside the 8-bit layers
}
# Tokens of one batch where the caller does not say; on a CPU what stays in its caches.
BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}


def pick_device(device: str | None) -> torch.device:
    """The device of "cpu", "cuda", "cuda:1"; None: CUDA if there is one.

    Raises:
        InputError: another word, or CUDA where there is none.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
    except RuntimeError:
        raise InputError(f"device must be cpu, cuda or cuda:N, got {device!r}") from None
    if where.type not in BATCH_TOKENS:
        raise InputError(f"device must be cpu, cuda or cuda:N, got {device!r}")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} was asked for, but torch {torch.__version__} sees no CUDA device")
    return where


def pick_dtype(dtype: str | None, device: torch.device) -> str:
    """A name in DTYPES; None: float32 on a CPU, bfloat16 on CUDA.

    Raises:
        InputError: another name.
    """
    if dtype is None:
        return "float32" if device.type == "cpu" else "bfloat16"
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {list(DTYPES)}, got {dtype!r}")
    return dtype
