"""Which implementation of an operation runs: the one rule, kept in one place.

    explicit `backend=`  >  environment HARKEN_BACKEND  >  "triton" where every tensor is on CUDA, "cpp" where all are on the
    CPU, the operation has a C++ kernel and the core was built, else "reference"

What was asked for runs or raises; only the automatic choice falls back. HARKEN_BACKEND=cpp speaks to the operations that
have a C++ kernel. Under TRITON_INTERPRET=1 Triton's kernels run on CPU tensors (slowly, for tests), and only when they are
asked for.
Source: own.
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch

from ..errors import BackendError
from . import cpp as cpp_core

BACKENDS = ("triton", "cpp", "reference")


def interpreted() -> bool:
    """True where Triton interprets kernels on the CPU instead of compiling them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def available(cpp: bool = False) -> tuple[str, ...]:
    """Backends that can run here, best first; cpp: of an operation that has a C++ kernel."""
    return tuple(name for name in BACKENDS if (cpp or name != "cpp") and not _missing(name))


def pick(asked: str | None, *tensors: torch.Tensor, cpp: bool = False) -> str:
    """Name the backend for one call.

    Args:
        asked: "triton", "cpp", "reference", or None for HARKEN_BACKEND and then the automatic choice.
        tensors: what the call works on; their device decides.
        cpp: whether the operation has a C++ kernel for these arguments.

    Raises:
        BackendError: what was asked for is no backend, or cannot run here or on these tensors.
    """
    source = "backend="
    if asked is None:
        asked, source = os.environ.get("HARKEN_BACKEND") or None, "HARKEN_BACKEND="
        asked = None if asked == "cpp" and not cpp and not _missing("cpp") else asked
    if asked is None:
        if all(t.is_cuda for t in tensors) and not _missing("triton"):
            return "triton"
        return "cpp" if cpp and all(t.device.type == "cpu" for t in tensors) and not _missing("cpp") else "reference"
    reason = _missing(asked)
    if not reason and asked == "cpp":
        elsewhere = sorted({str(t.device) for t in tensors if t.device.type != "cpu"})
        if not cpp:
            reason = "there is no C++ kernel of this operation for these arguments"
        elif elsewhere:
            reason = f"it wants CPU tensors, got {', '.join(elsewhere)}"
    if not reason and asked == "triton":
        elsewhere = sorted({str(t.device) for t in tensors if t.is_cuda == interpreted()})
        where = "CPU tensors under TRITON_INTERPRET=1" if interpreted() else "CUDA tensors"
        reason = f"it wants {where}, got {', '.join(elsewhere)}" if elsewhere else None
    if reason:
        raise BackendError(f"{source}{asked!r} cannot run: {reason}")
    return asked


def _missing(name: str) -> str | None:
    """Why a backend cannot run on this machine, or None."""
    if name not in BACKENDS:
        return f"no backend of that name; wanted one of {', '.join(BACKENDS)}"
    if name == "cpp":
        return cpp_core.missing()
    if name == "triton" and importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if name == "triton" and not (interpreted() or torch.cuda.is_available()):
        return "no CUDA device is visible, and TRITON_INTERPRET is not 1"
    return None


def tuned(configs: list, key: list[str]) -> Callable[[Any], Any]:
    """triton.autotune over `configs`; under the interpreter, where there is no clock to tune by, the first config alone."""
    import triton

    return triton.autotune(configs[:1] if interpreted() else configs, key=key)
