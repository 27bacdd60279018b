"""C++ backend of `kernels.logmel`: frames in the lanes of a register, transformed by Stockham's FFT (csrc/src/logmel.h)."""

from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .cpp import core, missing, pool
from .logmel_spec import LogMelSpec


def logmel_cpp(
    samples_N: torch.Tensor,
    cu_samples: np.ndarray,
    num_rows: int,
    spec: LogMelSpec,
    extra_frames: int,
    max_samples: int | None,
) -> torch.Tensor:
    """float32 [num_rows, num_mels] of clips that `kernels.logmel.logmel` has checked and planned."""
    features = np.empty((num_rows, spec.num_mels), np.float32)
    _front_end(spec).compute(pool(), samples_N.detach().numpy(), cu_samples, features, extra_frames, max_samples)
    return torch.from_numpy(features)


def first_not_finite(samples_N: torch.Tensor) -> int:
    """Place of the first NaN or infinity, or the number of samples."""
    return core().first_not_finite(samples_N.detach().numpy())


@lru_cache(maxsize=32)
def can_compute(spec: LogMelSpec) -> bool:
    """Whether the C++ kernel takes this front end; its transform wants half of n_fft to be 2^a 5^b."""
    try:
        return not missing() and bool(_front_end(spec))
    except InputError:
        return False


@lru_cache(maxsize=32)
def _front_end(spec: LogMelSpec) -> Any:
    fields = asdict(spec)
    del fields["max_duration_s"]
    return core().LogMel(**fields)
