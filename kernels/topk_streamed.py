"""`kernels.topk` of a corpus that lies in host memory: blocks go to the device while the block before is searched.

    copy stream      block 1 | block 2 | block 3 | ...
    compute stream             block 1 | block 2 | ...

Two device buffers, and two pinned host buffers where the corpus is not pinned itself (a memory map, say). Each buffer waits
for the search that read it last; the host waits once, at the end. The answer is that of `topk` over the whole corpus.
Source: own.
"""

from collections.abc import Iterator

import torch

from ..errors import InputError
from .backend import pick
from .topk import TopK, check_topk, empty_topk, merge_topk, refuse_rows, topk_reference

# N corpus rows, D width, Q queries.

DEFAULT_BLOCK_BYTES = 1 << 28


def topk_streamed(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    *,
    scales_N: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    exclude_Q: torch.Tensor | None = None,
    block_rows: int | None = None,
    backend: str | None = None,
) -> TopK:
    """Search a corpus on the CPU with queries on any device.

    Args:
        queries_QD: [Q, D] float32, on the device that searches.
        corpus_ND, scales_N, keep, exclude_Q: as in `topk`, on the CPU; pinned memory is copied fastest.
        k: 1..1024.
        block_rows: rows of a block, a multiple of 8; None: blocks of 256 MB.
        backend: as in `topk`.

    Returns: as `topk`, on the device of the queries.
    Raises:  InputError: as `topk`, or block_rows is off.
    """
    N, row_bytes = corpus_ND.shape[0], max(corpus_ND.shape[-1] * corpus_ND.element_size(), 1)
    block_rows = max(DEFAULT_BLOCK_BYTES // row_bytes // 8 * 8, 8) if block_rows is None else block_rows
    if block_rows < 8 or block_rows % 8:
        raise InputError(f"topk_streamed: block_rows must be a positive multiple of 8, got {block_rows}")
    check_topk(queries_QD.cpu(), corpus_ND, k, scales_N, keep, exclude_Q)
    device, best = queries_QD.device, empty_topk(queries_QD.shape[0], k, queries_QD.device)
    flagged = torch.full((1,), N, dtype=torch.int64, device=device)
    blocks = [(start, min(N, start + block_rows)) for start in range(0, N, block_rows)]
    on_device = _overlapped(corpus_ND, blocks, device) if device.type == "cuda" else (corpus_ND[a:b] for a, b in blocks)
    for (start, stop), corpus in zip(blocks, on_device):
        parts = [None if t is None else t.to(device) for t in _cut(scales_N, keep, exclude_Q, start, stop)]
        if pick(backend, queries_QD) == "triton":
            from .topk_triton import topk_triton

            with torch.cuda.device_of(queries_QD):
                found, tile = topk_triton(queries_QD, corpus, k, *parts)
            flagged = torch.minimum(flagged, tile + start)
            found = TopK(found.scores_QK, torch.where(found.ids_QK >= 0, found.ids_QK + start, -1))
        else:
            found = topk_reference(queries_QD, corpus, k, *parts, first_id=start)
        best = merge_topk([best, found])
    refuse_rows(corpus_ND, scales_N, keep, int(flagged))
    return best


def _cut(
    scales_N: torch.Tensor | None, keep: torch.Tensor | None, exclude_Q: torch.Tensor | None, start: int, stop: int
) -> list[torch.Tensor | None]:
    """The arguments of one block; ids count from its start."""
    scales = None if scales_N is None else scales_N[start:stop]
    if keep is not None:
        keep = keep[start:stop] if keep.dtype == torch.bool else keep[start // 8 : -(-stop // 8)]
    if exclude_Q is not None:
        exclude_Q = torch.where((exclude_Q >= start) & (exclude_Q < stop), exclude_Q - start, -1)
    return [scales, keep, exclude_Q]


def _overlapped(corpus_ND: torch.Tensor, blocks: list[tuple[int, int]], device: torch.device) -> Iterator[torch.Tensor]:
    """The blocks on a CUDA device; the copy of a block starts when the search of the one before has been launched."""
    rows = blocks[0][1] if blocks else 0
    buffers = [torch.empty((rows, corpus_ND.shape[1]), dtype=corpus_ND.dtype, device=device) for _ in range(2)]
    staging = [] if corpus_ND.is_pinned() else [torch.empty_like(b, device="cpu").pin_memory() for b in buffers]
    copies, compute = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    copied, searched = [torch.cuda.Event(), torch.cuda.Event()], [torch.cuda.Event(), torch.cuda.Event()]

    def send(i: int) -> None:
        (start, stop), slot = blocks[i], i % 2
        source = corpus_ND[start:stop]
        if staging:
            # The last copy out of this pinned buffer must be over before it is filled again.
            copied[slot].synchronize()
            source = staging[slot][: stop - start].copy_(source)
        with torch.cuda.stream(copies):
            copies.wait_event(searched[slot])
            buffers[slot][: stop - start].copy_(source, non_blocking=True)
            copied[slot].record(copies)

    # The buffers were allocated on the compute stream: what used their memory before must be over.
    copies.wait_stream(compute)
    for i, (start, stop) in enumerate(blocks):
        if i == 0:
            send(0)
        compute.wait_event(copied[i % 2])
        yield buffers[i % 2][: stop - start]
        searched[i % 2].record(compute)
        if i + 1 < len(blocks):
            send(i + 1)
