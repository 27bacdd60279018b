"""C++ backend of `kernels.topk`: rows are read once for all queries, each score summed in one order (csrc/src/topk.h).

int8 rows meet the query rounded to float16 and then to 16 bits of a common step, which loses nothing of values down to 1/16
of the largest; their sums are exact. Knows nothing of float8.
"""

import numpy as np
import torch

from .cpp import core, pool

# Q queries, N rows, D width, K hits.

MAX_WIDTH = 65536
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8)


def can_search(corpus_ND: torch.Tensor) -> bool:
    """Whether the C++ kernel takes this corpus."""
    row_stride = corpus_ND.stride(0)
    in_order = row_stride >= corpus_ND.shape[1] or corpus_ND.shape[0] < 2
    return corpus_ND.dtype in DTYPES and corpus_ND.shape[1] <= MAX_WIDTH and in_order


def topk_cpp(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    scales_N: torch.Tensor | None,
    keep: torch.Tensor | None,
    exclude_Q: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Scores [Q, K], ids [Q, K] and the first searched row that is not finite, or N; `kernels.topk.topk` has checked."""
    # numpy has no bfloat16; the core reads its bits.
    rows = corpus_ND.view(torch.int16) if corpus_ND.dtype == torch.bfloat16 else corpus_ND
    bits = None
    if keep is not None:
        bits = np.packbits(keep.numpy(), bitorder="little") if keep.dtype == torch.bool else keep.numpy()
    scores, ids, bad = core().topk(
        pool(),
        queries_QD.detach().numpy(),
        rows.detach().numpy(),
        k,
        dtype=str(corpus_ND.dtype).removeprefix("torch."),
        scales=None if scales_N is None else scales_N.numpy(),
        keep=bits,
        exclude=None if exclude_Q is None else exclude_Q.numpy(),
    )
    return torch.from_numpy(scores), torch.from_numpy(ids), bad
