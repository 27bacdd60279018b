"""The K best rows of a corpus for each query, exactly, without the Q x N matrix of scores.

    score[q, n] = scale[n] * sum_d query[q, d] * corpus[n, d]        best first, ties by lower id

Products are made in the corpus's own precision and summed in float32: a float16 or bfloat16 corpus meets the query rounded
to that dtype, an int8 or float8 one (both exact in float16) the query rounded to float16, a float32 one the query as it is.
Source: own. Beside this file: topk_triton.py (split lists on chip, one merge), topk_cpp.py (the CPU's own, where the core is
built), topk_streamed.py (corpora larger than the device). Knows nothing of shards, names or metadata.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..errors import InputError
from .backend import pick
from .topk_cpp import can_search, topk_cpp

# N corpus rows, D width, Q queries, K hits, B rows of a block, P queries padded.

MAX_K = 1024
NEG_INF = float("-inf")
PRODUCT_DTYPE = {
    torch.float32: torch.float32,
    torch.float16: torch.float16,
    torch.bfloat16: torch.bfloat16,
    torch.int8: torch.float16,
    torch.float8_e4m3fn: torch.float16,
}
FIRST_BLOCK = 1024
GROWTH = 3
# A tail shorter than this is padded: BLAS sums short products in another order, and equal rows must score equally.
ALIGN = 64


class TopK(NamedTuple):
    """Hits of every query, best first. A slot without a hit holds (-inf, -1)."""

    scores_QK: torch.Tensor
    ids_QK: torch.Tensor


def topk(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    *,
    scales_N: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    exclude_Q: torch.Tensor | None = None,
    backend: str | None = None,
) -> TopK:
    """Find the k best corpus rows of every query by inner product.

    Args:
        queries_QD: [Q, D] float32.
        corpus_ND: [N, D] float32, float16, bfloat16, int8 or float8_e4m3fn; rows may be strided, elements of a row may not.
            A memory map goes in through torch.from_numpy and is never copied whole.
        k: 1..1024; may exceed N.
        scales_N: [N] float32, a factor a row; for int8 and float8 corpora only.
        keep: rows that may be returned: bool [N], or bits uint8 [ceil(N / 8)], lowest bit first. None: all.
        exclude_Q: [Q] int64, one row id never returned for that query, -1 for none.
        backend: "triton", "cpp", "reference", or None to let `kernels.backend.pick` choose.

    Returns:
        TopK of scores float32 [Q, k] and ids int64 [Q, k].

    Raises:
        InputError: an argument is off, a query is not finite, or a searched corpus row is not finite. The row is found by
            its score as it is scored, which costs no pass of its own; a score of -inf by overflow is no hit.
    """
    check_topk(queries_QD, corpus_ND, k, scales_N, keep, exclude_Q)
    chosen = pick(backend, queries_QD, corpus_ND, cpp=can_search(corpus_ND))
    if chosen == "cpp":
        scores, ids, bad = topk_cpp(queries_QD, corpus_ND, k, scales_N, keep, exclude_Q)
        if bad < corpus_ND.shape[0]:
            refuse_row(bad)
        return TopK(scores, ids)
    if chosen == "triton":
        from .topk_triton import topk_triton

        with torch.cuda.device_of(queries_QD):
            hits, flagged = topk_triton(queries_QD, corpus_ND, k, scales_N, keep, exclude_Q)
        refuse_rows(corpus_ND, scales_N, keep, int(flagged))
        return hits
    return topk_reference(queries_QD, corpus_ND, k, scales_N, keep, exclude_Q)


def topk_reference(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    scales_N: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    exclude_Q: torch.Tensor | None = None,
    *,
    first_id: int = 0,
) -> TopK:
    """Blocks of growing size; each keeps what beats the k-th best so far, so that later blocks give few candidates.

    Ids in the answer and in errors count from first_id; those of exclude_Q are rows of corpus_ND.
    """
    (Q, D), N = queries_QD.shape, corpus_ND.shape[0]
    best = empty_topk(Q, k, queries_QD.device)
    if not Q or not N:
        return best
    # BLAS sums in one order for every row only at query counts of a multiple of this.
    pad = 4 if D % 16 == 0 else 16
    queries_PD = queries_QD.new_zeros((-(-Q // pad) * pad, D))
    queries_PD[:Q] = queries_QD.to(PRODUCT_DTYPE[corpus_ND.dtype])
    for start, stop in _blocks(N, max((1 << 21) // queries_PD.shape[0], FIRST_BLOCK)):
        scores_BQ = _score(queries_PD, corpus_ND[start:stop])[:, :Q]
        if scales_N is not None:
            scores_BQ *= scales_N[start:stop, None]
        keep_B = None if keep is None else unpack_keep(keep, start, stop)
        # A row that is not finite spoils its score with every query, and one spoilt score the sum.
        if not torch.isfinite(scores_BQ[:, 0].sum()):
            bad_B = ~torch.isfinite(scores_BQ[:, 0])
            bad_B = bad_B if keep_B is None else bad_B & keep_B
            if bad_B.any():
                refuse_row(first_id + start + int(bad_B.int().argmax()))
        if keep_B is not None:
            scores_BQ.masked_fill_(~keep_B[:, None], NEG_INF)
        if exclude_Q is not None:
            here = ((exclude_Q >= start) & (exclude_Q < stop)).nonzero()[:, 0]
            scores_BQ[exclude_Q[here] - start, here] = NEG_INF
        best = _fold(best, scores_BQ, first_id + start)
    return best


def merge_topk(parts: list[TopK]) -> TopK:
    """Join the hits of several parts of one corpus (ids already global) into the best k of all, ties by lower id."""
    k = parts[0].scores_QK.shape[1]
    scores_QM = torch.cat([p.scores_QK for p in parts], 1)
    ids_QM = torch.cat([p.ids_QK for p in parts], 1)
    ids_QM, by_id = ids_QM.sort(dim=1)
    scores_QK, by_score = scores_QM.gather(1, by_id).sort(dim=1, descending=True, stable=True)
    return TopK(scores_QK[:, :k].contiguous(), ids_QM.gather(1, by_score)[:, :k].contiguous())


def empty_topk(num_queries: int, k: int, device: torch.device) -> TopK:
    """Hits of a search that found nothing."""
    scores_QK = torch.full((num_queries, k), NEG_INF, dtype=torch.float32, device=device)
    return TopK(scores_QK, torch.full((num_queries, k), -1, dtype=torch.int64, device=device))


def unpack_keep(keep: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """The bool mask of rows start..stop of a `keep` argument."""
    if keep.dtype == torch.bool:
        return keep[start:stop]
    ids_B = torch.arange(start, stop, device=keep.device)
    return (keep[ids_B >> 3] >> (ids_B & 7).to(torch.uint8) & 1).bool()


def refuse_row(row: int) -> None:
    """Raise for a corpus row that cannot be scored."""
    raise InputError(f"topk: corpus_ND row {row} holds NaN or infinity, or overflows; wanted finite rows")


def refuse_rows(
    corpus_ND: torch.Tensor, scales_N: torch.Tensor | None, keep: torch.Tensor | None, flagged: int
) -> None:
    """Raise if a row was flagged: for the first searched row from there on that is not finite, else for the flagged one."""
    N = corpus_ND.shape[0]
    if flagged >= N:
        return
    stop = min(N, flagged + FIRST_BLOCK)
    rows_BD = corpus_ND[flagged:stop].float()
    if scales_N is not None:
        rows_BD = rows_BD * scales_N[flagged:stop, None]
    bad_B = ~torch.isfinite(rows_BD).all(1)
    if keep is not None:
        bad_B &= unpack_keep(keep, flagged, stop)
    refuse_row(flagged + int(bad_B.int().argmax()))


def check_topk(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    scales_N: torch.Tensor | None,
    keep: torch.Tensor | None,
    exclude_Q: torch.Tensor | None,
) -> None:
    """Raise InputError for an argument of the wrong kind; see `topk`."""
    if queries_QD.ndim != 2 or queries_QD.dtype != torch.float32:
        raise InputError(f"topk: queries_QD must be [Q, D] float32, got {tuple(queries_QD.shape)} {queries_QD.dtype}")
    D = queries_QD.shape[1]
    if corpus_ND.ndim != 2 or corpus_ND.shape[1] != D or not D:
        raise InputError(f"topk: corpus_ND must be [N, {D or '1+'}] like the queries, got {tuple(corpus_ND.shape)}")
    if corpus_ND.dtype not in PRODUCT_DTYPE:
        wanted = ", ".join(str(d).removeprefix("torch.") for d in PRODUCT_DTYPE)
        raise InputError(f"topk: corpus_ND must be one of {wanted}, got {corpus_ND.dtype}")
    if corpus_ND.numel() and D > 1 and corpus_ND.stride(1) != 1:
        raise InputError(f"topk: corpus_ND must have contiguous rows, got stride {corpus_ND.stride()}")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise InputError(f"topk: k must be an integer of 1..{MAX_K}, got {k!r}")
    N = corpus_ND.shape[0]
    if scales_N is not None:
        if corpus_ND.dtype not in (torch.int8, torch.float8_e4m3fn):
            raise InputError(f"topk: scales_N goes with an int8 or float8 corpus, got one of {corpus_ND.dtype}")
        if scales_N.shape != (N,) or scales_N.dtype != torch.float32:
            raise InputError(f"topk: scales_N must be [{N}] float32, got {tuple(scales_N.shape)} {scales_N.dtype}")
    if keep is not None and (keep.dtype, tuple(keep.shape)) not in ((torch.bool, (N,)), (torch.uint8, (-(-N // 8),))):
        got = f"{tuple(keep.shape)} {keep.dtype}"
        raise InputError(f"topk: keep must be bool [{N}] or bits uint8 [{-(-N // 8)}], got {got}")
    if exclude_Q is not None and (exclude_Q.dtype != torch.int64 or exclude_Q.shape != queries_QD.shape[:1]):
        got = f"{tuple(exclude_Q.shape)} {exclude_Q.dtype}"
        raise InputError(f"topk: exclude_Q must be [{queries_QD.shape[0]}] int64, got {got}")
    for name, t in (("corpus_ND", corpus_ND), ("scales_N", scales_N), ("keep", keep), ("exclude_Q", exclude_Q)):
        if t is not None and t.device != queries_QD.device:
            raise InputError(f"topk: {name} is on {t.device}, wanted {queries_QD.device} like queries_QD")
    bad_Q = ~torch.isfinite(queries_QD.to(PRODUCT_DTYPE[corpus_ND.dtype])).all(1)
    if bad_Q.any():
        row = int(bad_Q.int().argmax())
        raise InputError(
            f"topk: queries_QD row {row} holds NaN, infinity or a value past {PRODUCT_DTYPE[corpus_ND.dtype]}"
        )


def _blocks(num_rows: int, max_rows: int) -> Iterator[tuple[int, int]]:
    """Blocks of GROWTH times what was seen, so that each holds a few k candidates a query; a short tail stands alone."""
    start, whole = 0, num_rows - num_rows % ALIGN
    while start < whole:
        stop = min(whole, start + min(max(start * GROWTH, FIRST_BLOCK), max_rows))
        yield start, stop
        start = stop
    if whole < num_rows:
        yield whole, num_rows


def _score(queries_PD: torch.Tensor, corpus_BD: torch.Tensor) -> torch.Tensor:
    """float32 scores [B, P]; what is not float32 is widened a few MB at a time, while it is in cache."""
    B, D = corpus_BD.shape
    if B < ALIGN:
        padded = corpus_BD.new_zeros((ALIGN, D)) if corpus_BD.dtype.itemsize > 1 else queries_PD.new_zeros((ALIGN, D))
        padded[:B] = corpus_BD.to(padded.dtype)
        return (padded.float() @ queries_PD.T)[:B]
    if corpus_BD.dtype == torch.float32:
        return corpus_BD @ queries_PD.T
    step = max(ALIGN, (1 << 21) // D // ALIGN * ALIGN)
    return torch.cat([corpus_BD[i : i + step].float() @ queries_PD.T for i in range(0, B, step)])


def _above(scores_BQ: torch.Tensor, floor_Q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and queries of the scores over their query's floor, by row."""
    if scores_BQ.is_cuda:
        row_M, query_M = (scores_BQ > floor_Q).nonzero(as_tuple=True)
        return row_M, query_M
    # numpy on one thread: the sweep is short, and parallel sweeps of a busy machine wait for their slowest thread.
    rows, queries = np.nonzero(scores_BQ.numpy() > floor_Q.numpy())
    return torch.from_numpy(rows), torch.from_numpy(queries)


def _fold(best: TopK, scores_BQ: torch.Tensor, start: int) -> TopK:
    """Merge a block into the hits so far. Its ids are all higher, so a score equal to the k-th best stays out."""
    Q, k = best.scores_QK.shape
    floor_Q = best.scores_QK[:, -1]
    row_M, query_M = _above(scores_BQ, floor_Q)
    if row_M.numel() > 4 * k * Q and scores_BQ.shape[0] > k:
        floor_Q = torch.maximum(
            floor_Q, scores_BQ.T.topk(k, dim=1).values[:, -1].nextafter(floor_Q.new_tensor(NEG_INF))
        )
        row_M, query_M = _above(scores_BQ, floor_Q)
    if not row_M.numel():
        return best
    query_M, order = query_M.sort(stable=True)
    row_M = row_M[order]
    count_Q = torch.bincount(query_M, minlength=Q)
    slot_M = torch.arange(row_M.numel(), device=row_M.device) - (count_Q.cumsum(0) - count_Q)[query_M]
    found = empty_topk(Q, int(count_Q.max()), scores_BQ.device)
    found.scores_QK[query_M, slot_M] = scores_BQ[row_M, query_M]
    found.ids_QK[query_M, slot_M] = row_M + start
    scores, order = torch.cat([best.scores_QK, found.scores_QK], 1).sort(dim=1, descending=True, stable=True)
    ids = torch.cat([best.ids_QK, found.ids_QK], 1).gather(1, order)
    return TopK(scores[:, :k].contiguous(), ids[:, :k].contiguous())
