"""Triton backend of `kernels.topk`: one pass over the corpus keeps a maximum a group of rows, then k groups are rescored.

    1  score_groups_kernel   tensor-core products of BLOCK_Q queries and BLOCK_N rows; of each GROUP of rows only the best
                             score leaves the chip, as a 64-bit key (score, lower group first)
    2  torch.topk on keys    the k best groups of a query hold its k best rows: a row outside them is beaten by one row of
                             each, ties included, because groups are runs of ids
    3  rescore_kernel        the rows of those groups again, in float32; keys (score, lower id first)
    4  torch.topk on keys    the k best rows

Unlike a running list a query on chip, this has no limit on k from registers and sorts nothing in the hot loop: pass 1 is a
product with a maximum behind it, so few queries run at memory speed and many at the speed of the product (few queries use
tensor cores too, padded to 16: the loads, not the products, are their cost). Scores come from pass 3 alone, so they do not
depend on the number of queries. Reads N * D * itemsize + Q * k * GROUP * D * itemsize bytes; the keys take N / GROUP * 8
bytes a query, and a corpus for which that is over MAX_KEYS_BYTES goes in parts, each with the k-th best score so far as floor.
"""

import torch
import triton
import triton.language as tl

from ..errors import BackendError
from .aot import AotCase
from .topk import PRODUCT_DTYPE, TopK, empty_topk, merge_topk

# Q queries, N rows, D width, S groups chosen a query, K hits.

GROUP = 64
RESCORE_D = 64
MAX_KEYS_BYTES = 1 << 28
NO_KEY = -(2**63)
NO_ROW = 2**62
# Groups beyond k, and slack under the floor: products of pass 1 and pass 3 are summed in different orders, and a row whose
# two scores lie on either side of the k-th best must not be lost.
SPARE_GROUPS = 16
FLOOR_SLACK = 2.0**-18
KEEP_NONE, KEEP_BOOL, KEEP_BITS = 0, 1, 2
TRITON_NAMES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.float8_e4m3fn: "fp8e4nv",
}


@triton.jit
def row_offsets(first, stride, BLOCK: tl.constexpr):
    """Element offsets of BLOCK rows from row `first` on, in 64 bits whatever the types of the arguments."""
    return (tl.cast(first, tl.int64) + tl.arange(0, BLOCK)) * tl.cast(stride, tl.int64)


@triton.jit
def sortable_key(score, low):
    """int64 whose order is that of the score, ties by lower `low`; -inf gives the least int64, -0 counts as 0."""
    bits = tl.where(score == 0.0, 0.0, score).to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    key = (bits.to(tl.int64) << 32) | (0xFFFFFFFF - low.to(tl.int64))
    return tl.where(score == float("-inf"), -9223372036854775808, key)


@triton.jit
def may_return(keep_ptr, ids, last, KEEP: tl.constexpr):
    """Which rows lie before `last` and pass the filter."""
    ok = ids < last
    if KEEP == 1:
        ok = ok & (tl.load(keep_ptr + ids, mask=ok, other=0) != 0)
    if KEEP == 2:
        ok = ok & (((tl.load(keep_ptr + (ids >> 3), mask=ok, other=0).to(tl.int32) >> (ids & 7).to(tl.int32)) & 1) != 0)
    return ok


@triton.jit(do_not_specialize=["Q", "first", "last", "num_groups"])
def score_groups_kernel(
    q_ptr,
    corpus_ptr,
    scales_ptr,
    keep_ptr,
    exclude_ptr,
    floor_ptr,
    key_ptr,
    flag_ptr,
    stride_corpus,
    Q,
    D,
    first,
    last,
    num_groups,
    BLOCK_Q: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
    EVEN_D: tl.constexpr,
    HAS_SCALES: tl.constexpr,
    HAS_EXCLUDE: tl.constexpr,
    KEEP: tl.constexpr,
):
    num_query_blocks = tl.cdiv(Q, BLOCK_Q)
    # Query blocks of one corpus tile follow each other, so that the tile comes from memory once.
    tile = tl.program_id(0) // num_query_blocks
    queries = (tl.program_id(0) % num_query_blocks) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    start = tl.cast(first, tl.int64) + tl.cast(tile, tl.int64) * BLOCK_N
    ids = start + tl.arange(0, BLOCK_N)
    ok = may_return(keep_ptr, ids, last, KEEP)
    rows = row_offsets(start, stride_corpus, BLOCK_N)

    scores = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
    for begin in range(0, D, BLOCK_D):
        cols = begin + tl.arange(0, BLOCK_D)
        # Queries are padded to whole blocks, so that their loads need no mask and its registers.
        if EVEN_D:
            q = tl.load(q_ptr + queries[:, None] * D + cols[None, :])
            corpus = tl.load(corpus_ptr + rows[:, None] + cols[None, :], mask=ok[:, None], other=0.0)
        else:
            q = tl.load(q_ptr + queries[:, None] * D + cols[None, :], mask=(cols < D)[None, :], other=0.0)
            mask = ok[:, None] & (cols < D)[None, :]
            corpus = tl.load(corpus_ptr + rows[:, None] + cols[None, :], mask=mask, other=0.0)
        scores = tl.dot(q, tl.trans(corpus.to(q.dtype)), scores, input_precision="tf32x3")
    if HAS_SCALES:
        scores = scores * tl.load(scales_ptr + ids, mask=ok, other=0.0)[None, :]

    # Zero times what is not finite is NaN: the tile is flagged, and the row looked for only when the search has failed.
    spoilt = tl.sum(scores * 0.0, 1) != 0.0
    tl.atomic_min(flag_ptr + queries * 0, tl.zeros((BLOCK_Q,), tl.int64) + start, mask=spoilt)

    scores = tl.where(ok[None, :], scores, float("-inf"))
    cols = tl.arange(0, BLOCK_N)
    if HAS_EXCLUDE:
        exclude = tl.load(exclude_ptr + queries, mask=queries < Q, other=-1) - start
        exclude = tl.where((exclude >= 0) & (exclude < BLOCK_N), exclude, -1).to(tl.int32)
        scores = tl.where(exclude[:, None] == cols[None, :], float("-inf"), scores)
    floor = tl.load(floor_ptr + queries, mask=queries < Q, other=0.0)
    for g in tl.static_range(BLOCK_N // GROUP):
        group = tile * (BLOCK_N // GROUP) + g
        best = tl.max(tl.where((cols // GROUP == g)[None, :], scores, float("-inf")), 1)
        best = tl.where(best >= floor, best, float("-inf"))
        places = key_ptr + queries.to(tl.int64) * num_groups + group
        tl.store(places, sortable_key(best, group), mask=queries < Q)


@triton.jit(do_not_specialize=["S", "first", "last"])
def rescore_kernel(
    q_ptr,
    corpus_ptr,
    scales_ptr,
    keep_ptr,
    exclude_ptr,
    chosen_ptr,
    key_ptr,
    stride_corpus,
    S,
    D,
    first,
    last,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
    HAS_SCALES: tl.constexpr,
    HAS_EXCLUDE: tl.constexpr,
    KEEP: tl.constexpr,
):
    pair = tl.program_id(0).to(tl.int64)
    query = pair // S
    chosen = tl.load(chosen_ptr + pair)
    places = key_ptr + pair * GROUP + tl.arange(0, GROUP)
    if chosen == -9223372036854775808:
        tl.store(places, tl.full((GROUP,), -9223372036854775808, tl.int64))
    else:
        local = (0xFFFFFFFF - (chosen & 0xFFFFFFFF)) * GROUP + tl.arange(0, GROUP)
        ids = tl.cast(first, tl.int64) + local
        ok = may_return(keep_ptr, ids, last, KEEP)
        rows = ids * tl.cast(stride_corpus, tl.int64)
        sums = tl.zeros((GROUP, BLOCK_D), tl.float32)
        for begin in range(0, D, BLOCK_D):
            cols = begin + tl.arange(0, BLOCK_D)
            q = tl.load(q_ptr + query * D + cols, mask=cols < D, other=0.0).to(tl.float32)
            mask = ok[:, None] & (cols < D)[None, :]
            corpus = tl.load(corpus_ptr + rows[:, None] + cols[None, :], mask=mask, other=0.0)
            sums += corpus.to(tl.float32) * q[None, :]
        score = tl.sum(sums, 1)
        if HAS_SCALES:
            score = score * tl.load(scales_ptr + ids, mask=ok, other=0.0)
        if HAS_EXCLUDE:
            ok = ok & (ids != tl.load(exclude_ptr + query))
        tl.store(places, sortable_key(tl.where(ok, score, float("-inf")), local))


def topk_triton(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    k: int,
    scales_N: torch.Tensor | None,
    keep: torch.Tensor | None,
    exclude_Q: torch.Tensor | None,
) -> tuple[TopK, torch.Tensor]:
    """Search with arguments that `kernels.topk` has checked; nothing here waits for the device.

    Returns: hits, and int64 [1] on the device: the start of the first tile with a row that is not finite, or NO_ROW.
    """
    if corpus_ND.dtype == torch.float8_e4m3fn and corpus_ND.is_cuda and torch.cuda.get_device_capability() < (8, 9):
        raise BackendError("topk: this GPU has no float8; wanted compute capability 8.9 or a corpus of another dtype")
    Q, N = queries_QD.shape[0], corpus_ND.shape[0]
    flagged = torch.full((1,), NO_ROW, dtype=torch.int64, device=queries_QD.device)
    if not Q or not N:
        return empty_topk(Q, k, queries_QD.device), flagged
    queries_QD = queries_QD.to(PRODUCT_DTYPE[corpus_ND.dtype]).contiguous()
    scales_N, keep, exclude_Q = (None if t is None else t.contiguous() for t in (scales_N, keep, exclude_Q))
    rows_step, queries_step = part_sizes(Q, N, k)
    parts = []
    for begin in range(0, Q, queries_step):
        end = min(Q, begin + queries_step)
        exclude = None if exclude_Q is None else exclude_Q[begin:end]
        best = empty_topk(end - begin, k, queries_QD.device)
        for first in range(0, N, rows_step):
            last = min(N, first + rows_step)
            found = _search(queries_QD[begin:end], corpus_ND, first, last, k, scales_N, keep, exclude, best, flagged)
            best = found if first == 0 else merge_topk([best, found])
        parts.append(best)
    return TopK(torch.cat([p.scores_QK for p in parts]), torch.cat([p.ids_QK for p in parts])), flagged


def part_sizes(num_queries: int, num_rows: int, k: int) -> tuple[int, int]:
    """How many rows and queries one pass takes, so that both sets of keys stay under MAX_KEYS_BYTES."""
    queries = min(num_queries, max(16, MAX_KEYS_BYTES // (8 * (k + SPARE_GROUPS) * GROUP) // 16 * 16))
    rows = MAX_KEYS_BYTES // (8 * queries) * GROUP
    return min(rows, 2**31 - 2 * GROUP, -(-num_rows // GROUP) * GROUP), queries


def block_sizes(num_queries: int, stored: torch.dtype) -> dict[str, int]:
    """Blocks and launch sizes of pass 1. Chosen by arithmetic, no GPU has timed them: a slice of a row is 128 bytes of
    product dtype, stages cover the memory latency with two or three blocks a processor, and the largest block is for
    corpora that go to the tensor cores as they lie (others convert in registers, which it leaves none of)."""
    product = PRODUCT_DTYPE[stored]
    max_queries = 128 if stored == product and product != torch.float32 else 64
    block_q = min(max(triton.next_power_of_2(num_queries), 16), max_queries)
    return {
        "BLOCK_Q": block_q,
        "BLOCK_N": 128,
        "BLOCK_D": 32 if product == torch.float32 else 64,
        "num_warps": 8 if block_q >= 64 else 4,
        "num_stages": 3 if product == torch.float32 else 4,
    }


def _search(
    queries_QD: torch.Tensor,
    corpus_ND: torch.Tensor,
    first: int,
    last: int,
    k: int,
    scales_N: torch.Tensor | None,
    keep: torch.Tensor | None,
    exclude_Q: torch.Tensor | None,
    best: TopK,
    flagged: torch.Tensor,
) -> TopK:
    """Hits among rows first..last that may beat `best`."""
    Q, D = queries_QD.shape
    device = queries_QD.device
    floor_Q = best.scores_QK[:, -1]
    floor_Q = floor_Q - floor_Q.abs() * FLOOR_SLACK
    options = {
        "GROUP": GROUP,
        "HAS_SCALES": scales_N is not None,
        "HAS_EXCLUDE": exclude_Q is not None,
        "KEEP": KEEP_NONE if keep is None else KEEP_BOOL if keep.dtype == torch.bool else KEEP_BITS,
    }
    keep = None if keep is None else keep.view(torch.uint8)
    filters = [queries_QD if t is None else t for t in (scales_N, keep, exclude_Q)]
    sizes = block_sizes(Q, corpus_ND.dtype)
    queries_PD = queries_QD.new_zeros((triton.cdiv(Q, sizes["BLOCK_Q"]) * sizes["BLOCK_Q"], D))
    queries_PD[:Q] = queries_QD
    num_tiles = triton.cdiv(last - first, sizes["BLOCK_N"])
    # Groups past `last` hold no row that may be returned, and get NO_KEY.
    num_groups = num_tiles * sizes["BLOCK_N"] // GROUP
    group_keys = torch.empty((Q, num_groups), dtype=torch.int64, device=device)
    grid = (num_tiles * triton.cdiv(Q, sizes["BLOCK_Q"]),)
    score_groups_kernel[grid](
        queries_PD,
        corpus_ND,
        *filters,
        floor_Q,
        group_keys,
        flagged,
        corpus_ND.stride(0),
        Q,
        D,
        first,
        last,
        num_groups,
        EVEN_D=D % sizes["BLOCK_D"] == 0,
        **sizes,
        **options,
    )
    chosen_QS = _largest(group_keys, k + SPARE_GROUPS).contiguous()
    S = chosen_QS.shape[1]
    row_keys = torch.empty((Q, S * GROUP), dtype=torch.int64, device=device)
    rescore_kernel[(Q * S,)](
        queries_QD,
        corpus_ND,
        *filters,
        chosen_QS,
        row_keys,
        corpus_ND.stride(0),
        S,
        D,
        first,
        last,
        BLOCK_D=RESCORE_D,
        num_warps=4,
        **options,
    )
    return _unpack(row_keys.topk(min(k, S * GROUP), dim=1).values, first, k)


def _largest(key_QM: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` largest keys of every row (all, where there are fewer), in any order; long rows in two steps."""
    M, run = key_QM.shape[1], 64
    if count >= M:
        return key_QM
    if M > 4 * run * count:
        whole = M // run * run
        runs = key_QM[:, :whole].unflatten(1, (-1, run))
        picked = runs.amax(2).topk(count, dim=1, sorted=False).indices
        key_QM = torch.cat([runs.gather(1, picked[..., None].expand(-1, -1, run)).flatten(1), key_QM[:, whole:]], 1)
    return key_QM.topk(count, dim=1, sorted=False).values


def _unpack(key_QK: torch.Tensor, first: int, k: int) -> TopK:
    """Scores and global ids of sorted keys, filled up to k."""
    bits = (key_QK >> 32).to(torch.int32)
    scores = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
    hit = key_QK != NO_KEY
    found = empty_topk(key_QK.shape[0], k, key_QK.device)
    found.scores_QK[:, : key_QK.shape[1]] = torch.where(hit, scores, float("-inf"))
    found.ids_QK[:, : key_QK.shape[1]] = torch.where(hit, first + 0xFFFFFFFF - (key_QK & 0xFFFFFFFF), -1)
    return found


# Query counts that lead to different blocks; the dtypes that differ from float16 in their loads alone give the ends.
QUERIES_COMPILED = {d: (1, 128) for d in TRITON_NAMES} | {torch.float32: (1, 32, 64), torch.float16: (1, 32, 64, 128)}


COMMON = {"scales_ptr": "*fp32", "keep_ptr": "*u8", "exclude_ptr": "*i64", "key_ptr": "*i64"}
COMMON |= {"stride_corpus": "i32", "D": "i32", "first": "i64", "last": "i64"}


def score_case(stored: torch.dtype, num_queries: int, has_exclude: bool = True) -> AotCase:
    """Pass 1 with a filter of bits, for rows that are whole blocks of D."""
    sizes = block_sizes(num_queries, stored)
    warps, stages = sizes.pop("num_warps"), sizes.pop("num_stages")
    signature = _types(stored) | {"floor_ptr": "*fp32", "flag_ptr": "*i64", "Q": "i32", "num_groups": "i32"}
    name = f"topk score {TRITON_NAMES[stored]} Q{sizes['BLOCK_Q']} N{sizes['BLOCK_N']} D{sizes['BLOCK_D']}"
    constexprs = sizes | _options(stored, has_exclude) | {"EVEN_D": True}
    divisible, archs = _divisible(signature), _archs(stored)
    return AotCase(name, score_groups_kernel, signature, constexprs, warps, stages, divisible, True, archs)


def rescore_case(stored: torch.dtype, has_exclude: bool = True) -> AotCase:
    """Pass 3 with a filter of bits."""
    signature = _types(stored) | {"chosen_ptr": "*i64", "S": "i32"}
    constexprs = _options(stored, has_exclude) | {"BLOCK_D": RESCORE_D}
    name = f"topk rescore {TRITON_NAMES[stored]} G{GROUP} D{RESCORE_D}"
    divisible, archs = _divisible(signature), _archs(stored)
    return AotCase(name, rescore_kernel, signature, constexprs, divisible=divisible, archs=archs)


def _types(stored: torch.dtype) -> dict[str, str]:
    product = TRITON_NAMES[PRODUCT_DTYPE[stored]]
    return COMMON | {"q_ptr": f"*{product}", "corpus_ptr": f"*{TRITON_NAMES[stored]}"}


def _options(stored: torch.dtype, has_exclude: bool) -> dict[str, int]:
    return {"GROUP": GROUP, "HAS_EXCLUDE": has_exclude, "KEEP": KEEP_BITS, "HAS_SCALES": stored.itemsize == 1}


def _divisible(signature: dict[str, str]) -> tuple[str, ...]:
    return (*(n for n in signature if n.endswith("_ptr")), "stride_corpus", "D")


def _archs(stored: torch.dtype) -> tuple[int, ...]:
    return (90, 100) if stored == torch.float8_e4m3fn else (80, 90, 100)


# Every option on, for each kind of corpus and each block of queries it is launched with.
AOT_CASES = [
    case
    for stored in TRITON_NAMES
    for case in (*(score_case(stored, n) for n in QUERIES_COMPILED[stored]), rescore_case(stored))
]
