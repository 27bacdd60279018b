"""Exact top-K: every backend against a float64 sort of all scores, with ties, filters, exclusion, NaN and infinity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.errors import InputError
from harken.kernels import topk_triton
from harken.kernels.backend import available
from harken.kernels.topk import PRODUCT_DTYPE, TopK, merge_topk, topk
from harken.kernels.topk_streamed import topk_streamed

DTYPES = [*PRODUCT_DTYPE]
# Of every backend the dtypes it has a kernel for.
PAIRS = [(b, d) for b in available(cpp=True) for d in DTYPES if (b, d) != ("cpp", torch.float8_e4m3fn)]
few = settings(max_examples=10, deadline=None, derandomize=True)
both = pytest.mark.parametrize("backend", available(cpp=True))
NEG_INF = float("-inf")


def draw(Q, N, D, dtype, device, seed=0):
    """Small integers, so that every product and sum is exact in every dtype, and many scores tie."""
    g = torch.Generator().manual_seed(seed * 1000 + N)
    queries = torch.randint(-2, 3, (Q, D), generator=g).float()
    corpus = torch.randint(-2, 3, (N, D), generator=g).float()
    return queries.to(device), corpus.to(device, dtype)


def sorted_all(queries, corpus, k, scales=None, keep=None, exclude=None) -> TopK:
    """Every score in float64, best first, ties by lower id."""
    scores = queries.double() @ corpus.float().double().T
    if scales is not None:
        scores = scores * scales.double()
    if keep is not None:
        scores[:, ~keep] = NEG_INF
    if exclude is not None:
        for q, row in enumerate(exclude.tolist()):
            if row >= 0:
                scores[q, row] = NEG_INF
    Q, N = scores.shape
    scores = torch.cat([scores, scores.new_full((Q, k), NEG_INF)], 1)
    scores, ids = scores.sort(dim=1, descending=True, stable=True)
    return TopK(scores[:, :k].float(), torch.where(scores[:, :k] > NEG_INF, ids[:, :k], -1))


def assert_same(got: TopK, wanted: TopK) -> None:
    assert got.scores_QK.dtype == torch.float32 and got.ids_QK.dtype == torch.int64
    assert torch.equal(got.ids_QK, wanted.ids_QK)
    assert torch.equal(got.scores_QK, wanted.scores_QK)


def pack_bits(keep):
    return torch.from_numpy(np.packbits(keep.cpu().numpy(), bitorder="little")).to(keep.device)


@pytest.mark.parametrize(("backend", "dtype"), PAIRS, ids=str)
@few
@given(
    data=st.data(),
    Q=st.sampled_from([0, 1, 3, 16, 17]),
    N=st.sampled_from([0, 1, 5, 63, 64, 65, 127, 128, 129, 300]),
    D=st.sampled_from([1, 7, 32, 64, 65]),
    k=st.sampled_from([1, 2, 10, 70]),
)
def test_finds_what_a_sort_of_all_scores_finds(backend, dtype, data, Q, N, D, k, device):
    queries, corpus = draw(Q, N, D, dtype, device)
    args = {}
    if dtype in (torch.int8, torch.float8_e4m3fn) and data.draw(st.booleans(), "scales"):
        args["scales"] = 2.0 ** torch.randint(-2, 3, (N,), device=device).float()
    if data.draw(st.booleans(), "filtered"):
        args["keep"] = torch.rand(N, device=device) < data.draw(st.sampled_from([0.0, 0.05, 0.5]), "kept")
    if data.draw(st.booleans(), "excluding"):
        args["exclude"] = torch.randint(-1, max(N, 1), (Q,), device=device).clamp(max=N - 1)
    wanted = sorted_all(queries, corpus, k, **args)
    keep = args.get("keep")
    masks = [keep] if keep is None else [keep, pack_bits(keep)]
    for mask in masks:
        extra = {"scales_N": args.get("scales"), "exclude_Q": args.get("exclude"), "keep": mask}
        assert_same(topk(queries, corpus, k, **extra, backend=backend), wanted)


@both
def test_equal_rows_come_in_order_of_id(backend, device):
    """Random rows, so that sums round: copies of a row must still tie, wherever they lie."""
    g = torch.Generator().manual_seed(0)
    corpus, queries = torch.randn(1500, 48, generator=g), torch.randn(3, 48, generator=g)
    places = torch.randperm(1500, generator=g)[:200].sort().values
    corpus[places] = queries[1] * 2
    hits = topk(queries.to(device), corpus.to(device), 150, backend=backend)
    assert torch.equal(hits.ids_QK[1].cpu(), places[:150])


@both
@pytest.mark.parametrize("Q", [1, 5, 40])
def test_a_query_does_not_see_its_neighbours(backend, Q, device):
    queries, corpus = torch.randn(40, 64, device=device), torch.randn(700, 64, device=device)
    alone = topk(queries[:1], corpus, 20, backend=backend)
    among = topk(queries[:Q], corpus, 20, backend=backend)
    assert torch.equal(alone.ids_QK[0], among.ids_QK[0])
    if backend != "reference":
        assert torch.equal(alone.scores_QK[0], among.scores_QK[0])
    torch.testing.assert_close(alone.scores_QK[0], among.scores_QK[0], rtol=1e-5, atol=1e-5)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_scores_are_float32_sums_of_products_in_the_corpus_dtype(backend, dtype, device):
    queries, corpus = torch.randn(4, 96, device=device), torch.randn(200, 96, device=device).to(dtype)
    hits = topk(queries, corpus, 200, backend=backend)
    exact = queries.to(dtype).double() @ corpus.double().T
    error = (hits.scores_QK.double() - exact.gather(1, hits.ids_QK)).abs().max()
    assert error < 96 * 2.0**-23 * exact.abs().max()


@both
def test_strided_rows(backend, device):
    queries, wide = draw(3, 150, 48, torch.float16, device)
    corpus = wide[::2, 8:40]
    assert_same(topk(queries[:, 8:40], corpus, 9, backend=backend), sorted_all(queries[:, 8:40], corpus, 9))


@both
def test_rows_that_are_not_finite_are_named(backend, device):
    for value in (float("nan"), float("inf")):
        queries, corpus = draw(2, 300, 16, torch.float16, device)
        queries[:, 3] = 0
        corpus[211, 3] = corpus[280, 5] = value
        with pytest.raises(InputError, match="corpus_ND row 211"):
            topk(queries, corpus, 4, backend=backend)
        keep = torch.ones(300, dtype=torch.bool, device=device)
        keep[[211, 280]] = False
        assert 211 not in topk(queries, corpus, 300, keep=keep, backend=backend).ids_QK
        queries[1, 2] = value
        with pytest.raises(InputError, match="queries_QD row 1"):
            topk(queries, corpus, 4, backend=backend)


@pytest.mark.skipif("triton" not in available(), reason="Triton neither compiles nor interprets here")
@pytest.mark.parametrize("k", [3, 40])
def test_triton_takes_a_large_search_in_parts(k, device, monkeypatch):
    monkeypatch.setattr(topk_triton, "MAX_KEYS_BYTES", 1 << 9)
    queries, corpus = draw(18, 650, 16, torch.int8, device)
    rows, at_once = topk_triton.part_sizes(18, 650, k)
    assert rows < 650 and at_once < 18
    assert_same(topk(queries, corpus, k, backend="triton"), sorted_all(queries, corpus, k))


@pytest.mark.skipif("triton" not in available(), reason="Triton neither compiles nor interprets here")
def test_long_lists_of_keys_are_chosen_in_two_steps(device):
    keys = torch.randperm(40000, device=device).view(2, 20000)
    got = topk_triton._largest(keys, 20).sort(dim=1).values
    assert torch.equal(got, keys.sort(dim=1).values[:, -20:])


@pytest.mark.skipif("triton" not in available(), reason="Triton neither compiles nor interprets here")
def test_offsets_past_two_to_the_31(device):
    import triton
    import triton.language as tl

    @triton.jit
    def offsets_kernel(out_ptr, first, stride, BLOCK: tl.constexpr):
        tl.store(out_ptr + tl.arange(0, BLOCK), topk_triton.row_offsets(first, stride, BLOCK))

    out = torch.empty(8, dtype=torch.int64, device=device)
    offsets_kernel[(1,)](out, 10_000_000, 512, BLOCK=8)
    assert out.tolist() == [(10_000_000 + i) * 512 for i in range(8)] and out[0] > 2**31


@pytest.mark.skipif("triton" not in available(), reason="Triton neither compiles nor interprets here")
def test_part_sizes_stay_in_bounds():
    for Q, N, k in [(1, 10**10, 1), (4096, 10**7, 1024), (4096, 10**9, 1), (1, 1, 1)]:
        rows, queries = topk_triton.part_sizes(Q, N, k)
        assert 0 < queries <= Q and 0 < rows < 2**31 and rows % topk_triton.GROUP == 0
        assert queries * (rows // topk_triton.GROUP) * 8 <= topk_triton.MAX_KEYS_BYTES


def test_reads_a_memory_map_in_place(tmp_path):
    queries, corpus = draw(2, 5000, 16, torch.float32, "cpu")
    corpus.numpy().tofile(tmp_path / "rows")
    mapped = torch.from_numpy(np.memmap(tmp_path / "rows", dtype=np.float32, mode="c", shape=(5000, 16)))
    assert_same(topk(queries, mapped, 7), sorted_all(queries, corpus, 7))


@few
@given(data=st.data(), N=st.sampled_from([0, 1, 100, 257]), block=st.sampled_from([8, 64, 256]))
def test_streamed_is_topk(data, N, block, device):
    queries, corpus = draw(3, N, 16, torch.int8, "cpu")
    keep = torch.rand(N) < 0.5 if data.draw(st.booleans()) else None
    exclude = torch.tensor([0, -1, N - 1]) if N else None
    scales = torch.full((N,), 0.5)
    args = {"scales_N": scales, "exclude_Q": exclude}
    wanted = topk(queries, corpus, 5, keep=keep, **args)
    for mask in [None] if keep is None else [keep, pack_bits(keep)]:
        got = topk_streamed(queries.to(device), corpus, 5, keep=mask, block_rows=block, **args)
        assert_same(TopK(got.scores_QK.cpu(), got.ids_QK.cpu()), wanted)


def test_streamed_names_the_row_in_the_whole_corpus(device):
    queries, corpus = draw(3, 100, 16, torch.float32, "cpu")
    corpus[77, 1] = float("nan")
    with pytest.raises(InputError, match="row 77"):
        topk_streamed(queries.to(device), corpus, 5, block_rows=16)
    with pytest.raises(InputError, match="block_rows"):
        topk_streamed(queries.to(device), corpus, 5, block_rows=12)


@few
@given(cut=st.integers(0, 60))
def test_merged_parts_are_the_whole(cut):
    queries, corpus = draw(4, 60, 8, torch.float32, "cpu")
    low, high = topk(queries, corpus[:cut], 9), topk(queries, corpus[cut:], 9)
    high = TopK(high.scores_QK, torch.where(high.ids_QK >= 0, high.ids_QK + cut, -1))
    assert_same(merge_topk([high, low]), topk(queries, corpus, 9))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"queries_QD": torch.ones(2, 4).half()}, "queries_QD must be"),
        ({"queries_QD": torch.ones(4)}, "queries_QD must be"),
        ({"corpus_ND": torch.ones(5, 3)}, "corpus_ND must be"),
        ({"corpus_ND": torch.ones(5, 4).double()}, "corpus_ND must be one of"),
        ({"corpus_ND": torch.ones(4, 5).T}, "contiguous rows"),
        ({"k": 0}, "k must be"),
        ({"k": 1025}, "k must be"),
        ({"k": 2.0}, "k must be"),
        ({"scales_N": torch.ones(5)}, "scales_N goes with"),
        ({"keep": torch.ones(4, dtype=torch.bool)}, "keep must be"),
        ({"keep": torch.ones(5, dtype=torch.uint8)}, "keep must be"),
        ({"exclude_Q": torch.zeros(2)}, "exclude_Q must be"),
    ],
    ids=str,
)
def test_names_what_is_wrong(change, text):
    args = {"queries_QD": torch.ones(2, 4), "corpus_ND": torch.ones(5, 4), "k": 1} | change
    with pytest.raises(InputError, match=text):
        topk(**args)
