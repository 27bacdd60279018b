"""The C++ core. `_C` is built from this folder where a compiler is there; its types are in `_C.pyi`.

    csrc.core().Model("model.bundle").encode_text(["a dog barks"])
    find_package(harken) of CMake finds a pip install with -DCMAKE_PREFIX_PATH=$(python -m harken.csrc)

Source: own.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendError

if TYPE_CHECKING:
    from . import _C as _C

_MODULE = f"{__name__}._C"


def available() -> bool:
    """Whether the core was built when harken was installed."""
    return find_spec(_MODULE) is not None


def core() -> Any:
    """The module `_C`.

    Raises:
        BackendError: it was not built, or cannot be loaded here.
    """
    if not available():
        raise BackendError(
            "harken's C++ core was not built when harken was installed; install again where CMake 3.25, a C++20 compiler "
            "and pybind11 are (HARKEN_CSRC=1 pip install . says what is missing)"
        )
    try:
        return import_module(_MODULE)
    except ImportError as error:
        raise BackendError(f"harken's C++ core cannot be loaded here: {error}") from error


def prefix_path() -> Path:
    """Where headers, library and CMake files of a regular install are.

    Raises:
        BackendError: an editable install, or one without the core.
    """
    prefix = Path(__file__).resolve().parent
    if not (prefix / "lib" / "cmake" / "harken").is_dir():
        raise BackendError(f"{prefix}: holds no library for C++ programs; `pip install .` (not -e) builds it")
    return prefix
