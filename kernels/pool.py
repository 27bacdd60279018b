"""From packed hidden states to one vector a sequence: final RMS norm, pooling, head and unit length.

    h[n] = rmsnorm(hidden[n])       p[b] = mean of h[n] over the rows of b that `mode` names
    y[b] = layer_norm(W p[b])       and, where asked, p before the head and y after it divided by their length

Source: RMS norm as in rmsnorm.py; the pooling and heads of Omni-Embed-Audio (mean, head), AuroLA (one position) and
LCO-Embedding (last). Beside this file: pool_triton.py. attention_pool.py pools chunks by a learned query.
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as functional

from ..errors import InputError
from .backend import pick
from .checks import FLOATS, INTEGERS, check_tensor
from .rmsnorm import rmsnorm_reference

# N rows, B sequences, W width, V width of the vector.

Mode = Literal["mean", "span", "position", "last"]
MIN_NORM = 1e-12


class Norm(NamedTuple):
    """The final RMS norm: weight [W], dtype of the hidden states."""

    weight_W: torch.Tensor
    eps: float


class PoolHead(NamedTuple):
    """A projection without bias and a layer norm, in float32."""

    weight_VW: torch.Tensor
    norm_weight_V: torch.Tensor
    norm_bias_V: torch.Tensor
    eps: float = 1e-5
    # Divide the pooled state by its length before the projection.
    normalize_input: bool = False


def pool(
    hidden_NW: torch.Tensor,
    cu_seqlens: torch.Tensor,
    *,
    mode: Mode = "mean",
    spans: torch.Tensor | None = None,
    norm: Norm | None = None,
    head: PoolHead | None = None,
    normalize: bool = False,
    backend: str | None = None,
) -> torch.Tensor:
    """Pool every sequence of a packed batch; a vector does not depend on the other sequences.

    Args:
        hidden_NW: [N, W] float32, float16 or bfloat16; rows may be strided.
        cu_seqlens: [B + 1] int32 or int64, device of hidden: 0, the ends of the sequences, N. No sequence is empty.
        mode: "mean" over all rows, "span" over rows spans[b, 0] to spans[b, 1] (exclusive), "position" the row
            spans[b], "last" the last row; spans count from the start of the sequence.
        spans: [B, 2] or [B], dtype and device of cu_seqlens; for "span" and "position" alone.
        norm: applied to every row before pooling; None: the rows are normed already.
        head: applied to the pooled state; None: the pooled state is the vector.
        normalize: scale the result to unit length.
        backend: "triton", "reference", or None to let `kernels.backend.pick` choose.

    Returns: [B, W], or [B, V] with a head; float32, sums in float32.

    Raises:
        InputError: an argument of the wrong kind; on the CPU also cu_seqlens or spans that name no rows of their sequence.
            On CUDA, where looking would stall the device, the vector of such a sequence is NaN.
    """
    _check(hidden_NW, cu_seqlens, mode, spans, norm, head)
    if pick(backend, hidden_NW) == "triton":
        from .pool_triton import pool_triton

        with torch.cuda.device_of(hidden_NW):
            return pool_triton(hidden_NW, cu_seqlens, mode, spans, norm, head, normalize)
    return pool_reference(hidden_NW, cu_seqlens, mode=mode, spans=spans, norm=norm, head=head, normalize=normalize)


def pool_reference(
    hidden_NW: torch.Tensor,
    cu_seqlens: torch.Tensor,
    *,
    mode: Mode = "mean",
    spans: torch.Tensor | None = None,
    norm: Norm | None = None,
    head: PoolHead | None = None,
    normalize: bool = False,
) -> torch.Tensor:
    """A sequence at a time, so that no batch-sized copy is made; float64 stays float64."""
    ranges = pooled_rows(cu_seqlens, mode, spans).tolist()
    wide = torch.float64 if hidden_NW.dtype == torch.float64 else torch.float32

    def normed(rows_NW: torch.Tensor) -> torch.Tensor:
        return (rows_NW if norm is None else rmsnorm_reference(rows_NW, *norm)).to(wide)

    if mode in ("last", "position"):
        rows_BW = hidden_NW[torch.tensor([start for start, _ in ranges], dtype=torch.int64, device=hidden_NW.device)]
        pooled_BW = normed(rows_BW)
    else:
        pooled_BW = hidden_NW.new_empty((len(ranges), hidden_NW.shape[1]), dtype=wide)
        for b, (start, stop) in enumerate(ranges):
            pooled_BW[b] = normed(hidden_NW[start:stop]).mean(0)
    if head is not None:
        weight_VW, norm_weight_V, norm_bias_V = (t.to(wide) for t in head[:3])
        if head.normalize_input:
            pooled_BW = functional.normalize(pooled_BW, dim=-1, eps=MIN_NORM)
        pooled_BW = functional.layer_norm(
            pooled_BW @ weight_VW.T, norm_weight_V.shape, norm_weight_V, norm_bias_V, head.eps
        )
    return functional.normalize(pooled_BW, dim=-1, eps=MIN_NORM) if normalize else pooled_BW


def pooled_rows(cu_seqlens: torch.Tensor, mode: Mode, spans: torch.Tensor | None) -> torch.Tensor:
    """[B, 2] first row and end of what `mode` pools of every sequence."""
    first_B, end_B = cu_seqlens[:-1], cu_seqlens[1:]
    if mode == "mean":
        return torch.stack([first_B, end_B], 1)
    if mode == "last":
        return torch.stack([end_B - 1, end_B], 1)
    if spans is None:
        raise InputError(f"pool: mode {mode!r} wants spans")
    return first_B[:, None] + (spans if mode == "span" else torch.stack([spans, spans + 1], 1))


def _check(
    hidden_NW: torch.Tensor,
    cu_seqlens: torch.Tensor,
    mode: Mode,
    spans: torch.Tensor | None,
    norm: Norm | None,
    head: PoolHead | None,
) -> None:
    check_tensor("pool", "hidden_NW", hidden_NW, ("N", "W"), FLOATS)
    device, W = hidden_NW.device, hidden_NW.shape[1]
    check_tensor("pool", "cu_seqlens", cu_seqlens, ("B + 1",), INTEGERS, device)
    B = len(cu_seqlens) - 1
    if B < 0:
        raise InputError("pool: cu_seqlens must hold at least the number 0, got no element")
    if mode not in get_args(Mode):
        raise InputError(f"pool: mode must be one of {get_args(Mode)}, got {mode!r}")
    if (spans is None) != (mode in ("mean", "last")):
        raise InputError(f"pool: mode {mode!r} {'wants' if spans is None else 'takes no'} spans")
    if spans is not None:
        check_tensor("pool", "spans", spans, (B, 2) if mode == "span" else (B,), (cu_seqlens.dtype,), device)
    if norm is not None:
        check_tensor("pool", "norm.weight_W", norm.weight_W, (W,), (hidden_NW.dtype,), device)
    if head is not None:
        check_tensor("pool", "head.weight_VW", head.weight_VW, ("V", W), (torch.float32,), device)
        for name, t in (("head.norm_weight_V", head.norm_weight_V), ("head.norm_bias_V", head.norm_bias_V)):
            check_tensor("pool", name, t, (head.weight_VW.shape[0],), (torch.float32,), device)
    if device.type == "cpu":
        if int(cu_seqlens[0]) != 0 or int(cu_seqlens[-1]) != len(hidden_NW) or bool((cu_seqlens.diff() < 1).any()):
            raise InputError(
                f"pool: cu_seqlens must rise strictly from 0 to {len(hidden_NW)}, got {cu_seqlens.tolist()}"
            )
        rows_B2 = pooled_rows(cu_seqlens, mode, spans)
        bad_B = (rows_B2[:, 0] < cu_seqlens[:-1]) | (rows_B2[:, 1] > cu_seqlens[1:]) | (rows_B2[:, 0] >= rows_B2[:, 1])
        if bad_B.any() and spans is not None:
            b = int(bad_B.int().argmax())
            got, length = spans[b].tolist(), int(cu_seqlens[b + 1] - cu_seqlens[b])
            raise InputError(f"pool: spans of sequence {b} are {got}, wanted rows within its {length}")
