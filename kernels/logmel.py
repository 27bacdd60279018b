"""Log-mel features of packed ragged clips, each exactly as if it were alone and padded as its model was trained.

    frame t of a clip sees samples p = t * hop - n_fft/2 ... + n_fft, at place fold(p, L) of the clip, 0 from n on:
        fold(p, L) = p mirrored at 0 and at L - 1        L = n ("reflect"), or the cap ("zeros": silence follows the clip)
    power = |DFT(window * samples)|^2;   mel = power @ filters
    y = (max(gain * log10(max(mel, floor)), clip maximum - range) + shift) / divisor

With "zeros" a clip has T = ceil(n / hop) frames, and its maximum runs over every frame that holds signal, of which one or
two lie past T: ceil((n + n_fft/2) / hop). So no clip is ever padded to the cap, and its neighbours never matter.
Source: spec/models.md 1.1 (Whisper, exact length rule), 1.7 (Dasheng); spec/recipes.md E.3 (HTSAT).
Beside this file: logmel_spec.py (the numbers), logmel_triton.py (one launch), logmel_cpp.py (the CPU's own, where the core is
built).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ..errors import InputError
from .backend import pick
from .logmel_cpp import can_compute, first_not_finite, logmel_cpp
from .logmel_spec import SPECS, LogMelSpec, hann_window, mel_filters

__all__ = ["SPECS", "FramePlan", "LogMel", "LogMelSpec", "logmel", "logmel_reference", "plan_frames"]

# Frames transformed at a time on the CPU: their samples and spectra stay in the second-level cache.
CHUNK_FRAMES = 256


class LogMel(NamedTuple):
    """Packed features, frame-major."""

    # [cu_frames[-1], num_mels]
    features_FM: torch.Tensor
    # First row of every clip and the end; a clip's rows are its frames and the extra ones asked for.
    cu_frames: list[int]
    # T of every clip, without the extra ones.
    num_frames: list[int]


class FramePlan(NamedTuple):
    """The lengths of B clips, int64 [B]: what a backend needs besides the samples."""

    # First sample of the clip in the packed samples, and how many of them count.
    start: np.ndarray
    num_samples: np.ndarray
    # Where samples are mirrored on the right.
    fold: np.ndarray
    # T; rows given back; frames computed (the clip's maximum runs over these).
    num_frames: np.ndarray
    num_rows: np.ndarray
    num_work: np.ndarray


def logmel(
    samples_N: torch.Tensor,
    cu_samples: Sequence[int] | torch.Tensor,
    spec: LogMelSpec,
    *,
    extra_frames: int = 0,
    max_samples: int | None = None,
    out_dtype: torch.dtype = torch.float32,
    backend: str | None = None,
) -> LogMel:
    """Log-mel features of B clips that lie end to end.

    Args:
        samples_N: float32 [N] at spec.sample_rate_hz, contiguous. Finite: checked on the CPU, where it costs no waiting.
        cu_samples: [B + 1] first sample of each clip and the end, on the CPU.
        spec: which front end.
        extra_frames: rows past T to give as well (real frames of the silence that follows), as far as the cap goes.
        max_samples: the cap; longer clips are cut. None: spec.max_duration_s.
        out_dtype: float32, bfloat16 or float16; everything is computed in float32.
        backend: "triton", "cpp", "reference", or None to let `kernels.backend.pick` choose.

    Returns:
        LogMel on the device of samples_N.

    Raises:
        InputError: a wrong shape, dtype or layout, an empty clip, or a cap that no frame fits in.
    """
    _check(samples_N, extra_frames, out_dtype)
    chosen = pick(backend, samples_N, cpp=can_compute(spec))
    _refuse_not_finite(samples_N, spec, chosen)
    cu = _lengths(cu_samples, samples_N.numel())
    plan = plan_frames(cu, spec, extra_frames, max_samples)
    if chosen == "triton":
        from .logmel_triton import logmel_triton

        features = logmel_triton(samples_N, plan, spec, out_dtype)
    elif chosen == "cpp":
        features = logmel_cpp(samples_N, cu, int(plan.num_rows.sum()), spec, extra_frames, _cap(spec, max_samples)).to(
            out_dtype
        )
    else:
        features = _features(samples_N, plan, spec).to(out_dtype)
    return LogMel(features, [0, *np.cumsum(plan.num_rows).tolist()], plan.num_frames.tolist())


def logmel_reference(
    samples_N: torch.Tensor,
    cu_samples: Sequence[int] | torch.Tensor,
    spec: LogMelSpec,
    *,
    extra_frames: int = 0,
    max_samples: int | None = None,
) -> LogMel:
    """`logmel` in plain torch on any device; samples in float64 are computed and given in float64."""
    plan = plan_frames(_lengths(cu_samples, samples_N.numel()), spec, extra_frames, max_samples)
    features = _features(samples_N, plan, spec)
    return LogMel(features, [0, *np.cumsum(plan.num_rows).tolist()], plan.num_frames.tolist())


def plan_frames(
    cu_samples: np.ndarray, spec: LogMelSpec, extra_frames: int = 0, max_samples: int | None = None
) -> FramePlan:
    """The lengths of every clip by the spec's edge rule.

    Args:
        cu_samples: int64 [B + 1].

    Raises:
        InputError: extra frames where no silence follows the clip, or a cap of half a window or less.
    """
    hop, half = spec.hop_length, spec.n_fft // 2
    max_samples = _cap(spec, max_samples)
    if max_samples is not None and max_samples <= half:
        raise InputError(f"logmel: max_samples must be over {half} for {spec.name}, got {max_samples}")
    start, n = cu_samples[:-1], np.diff(cu_samples)
    n = n if max_samples is None else np.minimum(n, max_samples)
    if spec.right_edge == "reflect":
        if extra_frames:
            raise InputError(
                f"logmel: extra_frames must be 0 for {spec.name}, whose clips are mirrored; got {extra_frames}"
            )
        frames = 1 + n // hop
        return FramePlan(start, n, n, frames, frames, frames)
    # Without a cap the silence is endless: mirrored farther out than any frame looks.
    cap = max_samples if max_samples is not None else int(n.max(initial=0)) + (extra_frames + 4) * hop + 2 * spec.n_fft
    frames = np.minimum(-(-n // hop), cap // hop)
    rows = np.minimum(frames + extra_frames, cap // hop)
    work = np.minimum(np.maximum(rows, -(-(n + half) // hop)), cap // hop)
    return FramePlan(start, n, np.full_like(n, cap), frames, rows, work)


def _features(samples_N: torch.Tensor, plan: FramePlan, spec: LogMelSpec) -> torch.Tensor:
    """[sum of num_rows, num_mels] in the dtype of samples_N."""
    window, filters = _constants(spec, samples_N.dtype, samples_N.device)
    segments, first = _mirrored(samples_N, plan, spec)
    frames_WF = (
        segments.unfold(0, spec.n_fft, spec.hop_length) if segments.numel() else segments.new_empty(0, spec.n_fft)
    )
    mel_WM = samples_N.new_empty(len(frames_WF), spec.num_mels)
    step = CHUNK_FRAMES if samples_N.device.type == "cpu" else max(1, len(frames_WF))
    for i in range(0, len(frames_WF), step):
        re_im = torch.view_as_real(torch.fft.rfft(frames_WF[i : i + step] * window))
        power = re_im[..., 0].square().addcmul_(re_im[..., 1], re_im[..., 1])
        torch.mm(power, filters, out=mel_WM[i : i + step])
    log_WM = mel_WM.clamp_min_(spec.floor).log10_().mul_(spec.log_gain)
    parts = []
    for row, num_rows, num_work in zip(first, plan.num_rows.tolist(), plan.num_work.tolist()):
        part = log_WM[row : row + num_rows]
        if spec.max_range is not None:
            part = torch.maximum(part, log_WM[row : row + num_work].max() - spec.max_range, out=part)
        parts.append(part)
    out = torch.cat(parts) if len(parts) > 1 else parts[0] if parts else log_WM
    return out.add_(spec.shift).div_(spec.divisor) if (spec.shift, spec.divisor) != (0.0, 1.0) else out


def _mirrored(samples_N: torch.Tensor, plan: FramePlan, spec: LogMelSpec) -> tuple[torch.Tensor, list[int]]:
    """The clips with their edges, each a whole number of hops long, and the first frame of each in an unfold of the whole."""
    hop, half = spec.hop_length, spec.n_fft // 2
    hops = plan.num_work - 1 + -(-spec.n_fft // hop)
    first = np.cumsum(hops) - hops
    out = samples_N.new_zeros(int(hops.sum()) * hop)
    for clip, (row, length) in enumerate(zip(first.tolist(), (hops * hop).tolist())):
        start, n, fold = int(plan.start[clip]), int(plan.num_samples[clip]), int(plan.fold[clip])
        clip_n, segment = samples_N[start : start + n], out[row * hop : row * hop + length]
        body = min(n, length - half)
        segment[half : half + body] = clip_n[:body]
        # Silence needs no mirror; a mirror, at either edge, looks its samples up.
        right = range(n, length - half) if fold < length - half else range(0)
        for edge in (range(-half, 0), right):
            place = np.abs(np.arange(edge.start, edge.stop)) % max(1, 2 * (fold - 1))
            place = np.where(place < fold, place, 2 * (fold - 1) - place)
            inside = place < n
            values = clip_n[torch.from_numpy(place[inside]).to(samples_N.device)]
            segment[torch.from_numpy(np.arange(edge.start, edge.stop)[inside] + half).to(samples_N.device)] = values
    return out, first.tolist()


@lru_cache(maxsize=32)
def _constants(spec: LogMelSpec, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Window [n_fft]; filters [num_bins, num_mels]."""
    return tuple(torch.from_numpy(c).to(device, dtype) for c in (hann_window(spec), mel_filters(spec)))  # type: ignore[return-value]


def _cap(spec: LogMelSpec, max_samples: int | None) -> int | None:
    if max_samples is None and spec.max_duration_s is not None:
        return round(spec.max_duration_s * spec.sample_rate_hz)
    return max_samples


def _lengths(cu_samples: Sequence[int] | torch.Tensor, num_samples: int) -> np.ndarray:
    cu = np.asarray(cu_samples, dtype=np.int64)
    if cu.ndim != 1 or not len(cu) or cu[0] != 0 or cu[-1] != num_samples:
        raise InputError(f"logmel: cu_samples must be [B + 1] from 0 to {num_samples}, got {_short(cu)}")
    if (np.diff(cu) <= 0).any():
        clip = int((np.diff(cu) <= 0).argmax())
        raise InputError(f"logmel: clip {clip} has {int(cu[clip + 1] - cu[clip])} samples, wanted 1 or more")
    return cu


def _short(cu: np.ndarray) -> str:
    return f"shape {cu.shape}, first {cu.flat[0]}, last {cu.flat[-1]}" if cu.size else f"shape {cu.shape}"


def _check(samples_N: torch.Tensor, extra_frames: int, out_dtype: torch.dtype) -> None:
    if samples_N.ndim != 1 or samples_N.dtype != torch.float32 or not samples_N.is_contiguous():
        got = f"{list(samples_N.shape)} {samples_N.dtype}, stride {samples_N.stride()}"
        raise InputError(f"logmel: samples_N must be a contiguous float32 [N], got {got}")
    if out_dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise InputError(f"logmel: out_dtype must be float32, bfloat16 or float16, got {out_dtype}")
    if extra_frames < 0:
        raise InputError(f"logmel: extra_frames must be 0 or more, got {extra_frames}")


def _refuse_not_finite(samples_N: torch.Tensor, spec: LogMelSpec, backend: str) -> None:
    if samples_N.device.type != "cpu":
        return
    if backend == "cpp":
        bad = first_not_finite(samples_N)
    else:
        bad = samples_N.numel() if torch.isfinite(samples_N).all() else int((~torch.isfinite(samples_N)).nonzero()[0])
    if bad < samples_N.numel():
        raise InputError(f"logmel: samples_N must be finite for {spec.name}, got {float(samples_N[bad])} at {bad}")
