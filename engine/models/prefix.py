"""Many continuations of one beginning: the beginning's keys and values once, the continuations packed.

    out = e^(a - c) attend(q, prefix) + e^(b - c) attend(q, own, causal),   a, b = the two log-sum-exps, c = log(e^a + e^b)

which is attention over prefix and continuation together, so nothing is copied for each continuation.

With `joint_from` a continuation sees its prefix in the layers from there on only. Below, `apart` runs it alone, once for all
prefixes that it follows.

Source: spec/models.md section 4 (shared prefix by log-sum-exp merge); checked against the plain packed decoder. `joint_from`:
MacAvaney et al. 2020 (PreTTR, arXiv 2004.14255).
Letters: N rows, B continuations, W width, H heads, G key-value heads, D head width, P prefix rows, C equal runs, L run length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import torch

from ...kernels.merge_attention import merge_attention
from .attention import packed_attention, varlen
from .config import DecoderConfig
from .decoder import Decoder, DecoderLayer
from .packed import Segments
from .transfer import put

# Scores that `dense` holds at a time: 64 MiB.
MAX_SCORES = 1 << 24


@dataclass(frozen=True, slots=True)
class PrefixKV:
    """Keys (rotated) and values of one prefix in every layer in which it is seen: [layers, 2, P, G, D]."""

    kv: torch.Tensor

    @property
    def num_rows(self) -> int:
        return self.kv.shape[2]

    @property
    def num_bytes(self) -> int:
        return self.kv.nbytes


def kv_bytes_per_token(config: DecoderConfig, dtype: torch.dtype, joint_from: int = 0) -> int:
    """Bytes that one token of a kept prefix takes."""
    return 2 * (config.num_layers - joint_from) * config.num_kv_heads * config.head_width * dtype.itemsize


def prefill(decoder: Decoder, x_NW: torch.Tensor, segments: Segments, *, joint_from: int = 0) -> list[PrefixKV]:
    """Keys and values of packed prefixes; the last layer computes nothing else.

    Args:
        x_NW: [N, W] embeddings of tokens and sounds.
        segments: the cut of the N rows into prefixes.
        joint_from: the first layer in which they are seen.
    """
    c = decoder.config
    kv = x_NW.new_empty(c.num_layers - joint_from, 2, segments.num_rows, c.num_kv_heads, c.head_width)
    rotary = decoder.rotary(segments.positions(x_NW.device), x_NW.dtype)
    for i, layer in enumerate(cast(Sequence[DecoderLayer], decoder.layers)):
        q, k, v = layer.project(x_NW, rotary)
        if i >= joint_from:
            kv[i - joint_from, 0], kv[i - joint_from, 1] = k, v
        if i + 1 < c.num_layers:
            attended = packed_attention(q, k, v, segments, causal=True, scale=layer.scale)
            x_NW = layer.finish(x_NW, attended)
    if len(segments) == 1:
        return [PrefixKV(kv)]
    # Copies, so that one prefix can be freed while another lives on.
    return [PrefixKV(kv[:, :, a:b].clone()) for a, b in zip(segments.starts, segments.starts[1:])]


def apart(decoder: Decoder, x_NW: torch.Tensor, segments: Segments, joint_from: int) -> torch.Tensor:
    """What goes into layer `joint_from`: [N, W] rows of packed sequences that see themselves alone."""
    rotary = decoder.rotary(segments.positions(x_NW.device), x_NW.dtype)
    for layer in decoder.layers[:joint_from]:
        x_NW = layer(x_NW, rotary, segments, True, None)
    return x_NW


def extend(
    decoder: Decoder,
    x_NW: torch.Tensor,
    segments: Segments,
    prefixes: Sequence[PrefixKV],
    counts: Sequence[int],
    *,
    joint_from: int = 0,
) -> torch.Tensor:
    """The last row of each continuation.

    Args:
        x_NW: [N, W] the continuations' rows as they go into layer `joint_from`: their embeddings, or what `apart` gives.
        segments: the cut of the N rows into B continuations, none empty.
        prefixes: the first counts[0] continuations follow prefixes[0], the next counts[1] prefixes[1], and so on.
        counts: 1 or more each, B together.
        joint_from: as the prefixes were made.

    Returns: [B, W] before the final norm.
    """
    firsts = list(accumulate(counts, initial=0))
    lengths = [sum(segments.lengths[a:b]) for a, b in zip(firsts, firsts[1:])]
    offsets = torch.cat([torch.full((length,), prefix.num_rows) for prefix, length in zip(prefixes, lengths)])
    rotary = decoder.rotary(segments.positions(x_NW.device) + put(offsets, x_NW.device), x_NW.dtype)
    past_rows = Segments.of([prefix.num_rows for prefix in prefixes])
    every = _Asking(segments, Segments.of(lengths), segments, past_rows)
    last = _Asking(segments.single_rows, Segments.of(counts), segments, past_rows)
    last_rows = segments.last_rows(x_NW.device)
    layers = cast(Sequence[DecoderLayer], decoder.layers[joint_from:])
    for i, layer in enumerate(layers):
        only = last_rows if i + 1 == len(layers) else None
        q, k, v = layer.project(x_NW, rotary, only)
        past = [prefix.kv[i] for prefix in prefixes]
        attended = _attention(q, k, v, past, every if only is None else last, layer.scale)
        x_NW = layer.finish(x_NW if only is None else x_NW[only], attended)
    return x_NW


@dataclass(frozen=True, slots=True)
class _Asking:
    """Which rows ask what: made once, so that what a device is told about it is told once for all layers."""

    # The rows of each continuation that ask: all of them, or its last.
    rows: Segments
    # The same rows by prefix.
    groups: Segments
    # The rows of each continuation that are seen.
    seen: Segments
    past: Segments


def _attention(
    q_NHD: torch.Tensor,
    k_NGD: torch.Tensor,
    v_NGD: torch.Tensor,
    past: list[torch.Tensor],
    asking: _Asking,
    scale: float,
) -> torch.Tensor:
    """Each asking row over its prefix (`past`, [2, P, G, D] each) and its own continuation up to itself."""
    causal = asking.rows is asking.seen
    if q_NHD.is_cuda and q_NHD.dtype in (torch.float16, torch.bfloat16):
        kv = past[0] if len(past) == 1 else torch.cat(past, 1)
        before = varlen(q_NHD, kv[0], kv[1], asking.groups, asking.past, causal=False, scale=scale)
        own = varlen(q_NHD, k_NGD, v_NGD, asking.rows, asking.seen, causal=causal, scale=scale)
        return merge_attention(*before, *own)[0]
    out_NHD = torch.empty_like(q_NHD)
    lse_HN = q_NHD.new_empty(q_NHD.shape[1], q_NHD.shape[0], dtype=torch.float32)
    first = 0
    for start, count, length in asking.seen.runs():
        rows = slice(first, first + (count * length if causal else count))
        k, v = (x[start : start + count * length].unflatten(0, (count, length)) for x in (k_NGD, v_NGD))
        run, lse = dense(q_NHD[rows].unflatten(0, (count, -1)), k, v, causal=causal, scale=scale)
        out_NHD[rows], lse_HN[:, rows] = run.flatten(0, 1), lse.transpose(0, 1).flatten(1)
        first = rows.stop
    for kv, a, b in zip(past, asking.groups.starts, asking.groups.starts[1:]):
        run, lse = dense(q_NHD[None, a:b], kv[None, 0], kv[None, 1], causal=False, scale=scale)
        out_NHD[a:b] = merge_attention(run[0], lse[0], out_NHD[a:b], lse_HN[:, a:b])[0]
    return out_NHD


def dense(
    q_CLHD: torch.Tensor, k_CPGD: torch.Tensor, v_CPGD: torch.Tensor, *, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with its log-sum-exp, in float32, some rows at a time so that the scores stay small.

    Args:
        q_CLHD, k_CPGD, v_CPGD: H is a multiple of G; with `causal` L = P and row i sees rows up to i.

    Returns: [C, L, H, D] in the dtype of q, and [C, H, L] float32.
    """
    runs, length, heads, _ = q_CLHD.shape
    per, block = heads // k_CPGD.shape[2], max(16, MAX_SCORES // max(1, runs * heads * k_CPGD.shape[1]))
    k, v = (x.float().transpose(1, 2) for x in (k_CPGD, v_CPGD))
    outs, lses = [], []
    for first in range(0, length, block):
        # The heads that share keys become more rows of one product: [C, G, per * rows, D].
        q = q_CLHD[:, first : first + block].float().unflatten(2, (-1, per)).permute(0, 2, 3, 1, 4)
        rows, seen = q.shape[3], first + q.shape[3] if causal else k.shape[2]
        scores = (q.flatten(2, 3) * scale) @ k[:, :, :seen].transpose(-1, -2)
        if causal:
            future = torch.ones(rows, rows, dtype=torch.bool, device=q.device).triu(1)
            scores.unflatten(2, (per, rows))[..., first:].masked_fill_(future, float("-inf"))
        lse = scores.logsumexp(-1, keepdim=True)
        out = (scores - lse).exp_() @ v[:, :, :seen]
        outs.append(out.unflatten(2, (per, rows)).permute(0, 3, 1, 2, 4).flatten(2, 3))
        lses.append(lse[..., 0].unflatten(2, (per, rows)).flatten(1, 2))
    return torch.cat(outs, 1).to(q_CLHD.dtype), torch.cat(lses, 2)
