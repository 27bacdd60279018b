"""The C++ core as kernels use it: one pool of threads a process, of the size that torch uses.

Source: own; csrc/ is the core.
"""

import os
from functools import cache, lru_cache
from typing import Any

import torch

from .. import csrc
from ..errors import BackendError


@cache
def core() -> Any:
    """The module `harken.csrc._C`.

    Raises:
        BackendError: it was not built, or cannot be loaded here.
    """
    return csrc.core()


@cache
def missing() -> str | None:
    """Why the core cannot run here, or None."""
    try:
        core()
    except BackendError as error:
        return str(error)
    return None


def pool() -> Any:
    """Threads for one call; calls from several threads take turns."""
    return _pool(torch.get_num_threads(), os.getpid())


@lru_cache(maxsize=4)
def _pool(num_threads: int, pid: int) -> Any:
    # A forked child has its own pid and none of its parent's threads.
    return core().ThreadPool(num_threads)
