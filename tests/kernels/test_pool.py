"""Pooling of packed hidden states: every mode, norm and head against float64, and no vector sees its neighbours."""

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.errors import InputError
from harken.kernels.attention_pool import attention_pool, attention_pool_reference
from harken.kernels.backend import available
from harken.kernels.pool import Norm, PoolHead, pool, pool_reference
from harken.kernels.testing import assert_as_good_as

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
MODES = ["mean", "span", "position", "last"]
few = settings(max_examples=6, deadline=None, derandomize=True)
both = pytest.mark.parametrize("backend", available())
# Around the edges of a chunk of 32 rows.
lengths_of = st.lists(st.sampled_from([1, 2, 7, 8, 31, 32, 33, 64, 65, 100]), max_size=4)


def make(lengths, W, dtype, device, seed=0):
    g = torch.Generator().manual_seed(seed + sum(lengths) * 31 + W)
    hidden = (
        torch.randn(sum(lengths), W, generator=g) * torch.logspace(-1, 1, max(sum(lengths), 1))[: sum(lengths), None]
    )
    cu = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    norm = Norm((torch.rand(W, generator=g) + 0.5).to(device, dtype), 1e-6)
    return hidden.to(device, dtype), cu.to(device), norm


def make_head(W, V, device, normalize_input=True):
    g = torch.Generator().manual_seed(W)
    weight, scale, bias = (
        torch.randn(V, W, generator=g) / W**0.5,
        torch.rand(V, generator=g),
        torch.randn(V, generator=g),
    )
    return PoolHead(weight.to(device), scale.to(device), bias.to(device), normalize_input=normalize_input)


def spans_of(mode, lengths, device):
    if mode == "span":
        return torch.tensor([[n // 3, n] for n in lengths], dtype=torch.int32, device=device).reshape(-1, 2)
    return torch.tensor([n // 2 for n in lengths], dtype=torch.int32, device=device) if mode == "position" else None


@both
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(lengths=lengths_of, W=st.sampled_from([1, 33, 64, 100]), with_norm=st.booleans())
def test_as_good_as_torch(backend, mode, dtype, lengths, W, with_norm, device):
    hidden, cu, norm = make(lengths, W, dtype, device)
    spans = spans_of(mode, lengths, device)
    # The quotient is rounded to the model's dtype before the weight: the exact answer starts from the normed rows.
    plain_norm = norm if with_norm else None
    args = {"mode": mode, "spans": spans}
    got = pool(hidden, cu, norm=plain_norm, backend=backend, **args)
    plain = pool_reference(hidden, cu, norm=plain_norm, **args)
    wide_norm = Norm(norm.weight_W.double(), norm.eps) if with_norm else None
    exact = pool_reference(hidden.double(), cu, norm=wide_norm, **args)
    assert_as_good_as(got, plain, exact)


@both
@pytest.mark.parametrize("normalize_input", [False, True])
@few
@given(lengths=lengths_of, V=st.sampled_from([16, 40, 65]), normalize=st.booleans())
def test_head_as_good_as_torch(backend, normalize_input, lengths, V, normalize, device):
    hidden, cu, norm = make(lengths, 48, torch.float32, device)
    args = {"norm": norm, "head": make_head(48, V, device, normalize_input), "normalize": normalize}
    got, plain = pool(hidden, cu, backend=backend, **args), pool_reference(hidden, cu, **args)
    exact = pool_reference(hidden.double(), cu, **{**args, "norm": Norm(norm.weight_W.double(), norm.eps)})
    assert_as_good_as(got, plain, exact)


@both
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unit_length_without_a_head(backend, dtype, device):
    hidden, cu, norm = make([3, 40], 64, dtype, device)
    got = pool(hidden, cu, norm=norm, normalize=True, backend=backend)
    wanted = functional.normalize(pool(hidden, cu, norm=norm, backend=backend), dim=-1)
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize("mode", MODES)
def test_a_vector_does_not_see_its_neighbours(backend, mode, device, poison):
    lengths = [5, 70, 32, 33]
    hidden, cu, norm = make(lengths, 64, torch.bfloat16, device)
    spans = spans_of(mode, lengths, device)
    together = pool(hidden, cu, mode=mode, spans=spans, norm=norm, backend=backend)
    for b, (start, stop) in enumerate(zip(cu[:-1].tolist(), cu[1:].tolist())):
        one = torch.tensor([0, stop - start], dtype=torch.int32, device=device)
        span = None if spans is None else spans[b : b + 1]
        alone = pool(hidden[start:stop], one, mode=mode, spans=span, norm=norm, backend=backend)
        assert torch.equal(alone[0], together[b])


@both
def test_strided_rows_and_wide_offsets(backend, device, poison):
    hidden, cu, _ = make([9, 40], 80, torch.float16, device)
    cut = hidden[:, 8:72]
    assert torch.equal(pool(cut, cu.long(), backend=backend), pool(cut.contiguous(), cu, backend=backend))


@both
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(lengths=lengths_of, D=st.sampled_from([1, 33, 64]))
def test_attention_pool_close_to_exact(backend, dtype, lengths, D, device):
    """The softmax magnifies how its scores were summed, so the bound is on the answer and not twice that of torch."""
    chunks, cu, _ = make(lengths, D, dtype, device)
    query = torch.randn(D, generator=torch.Generator().manual_seed(D)).to(device)
    exact = attention_pool_reference(chunks.double(), cu, query.double())
    got = attention_pool(chunks, cu, query, backend=backend)
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_zero_query_gives_the_mean():
    chunks, cu, _ = make([3, 1, 20], 16, torch.float32, "cpu")
    torch.testing.assert_close(attention_pool(chunks, cu, torch.zeros(16)), pool(chunks, cu))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hidden_NW": torch.ones(6)}, "hidden_NW must be"),
        ({"cu_seqlens": torch.tensor([0.0, 6.0])}, "cu_seqlens must be"),
        ({"cu_seqlens": torch.tensor([0, 5])}, "rise strictly from 0 to 6"),
        ({"cu_seqlens": torch.tensor([0, 3, 3, 6])}, "rise strictly from 0 to 6"),
        ({"mode": "max"}, "mode must be one of"),
        ({"mode": "span"}, "'span' wants spans"),
        ({"spans": torch.tensor([[0, 1], [0, 1]])}, "'mean' takes no spans"),
        ({"mode": "span", "spans": torch.tensor([[0, 1], [1, 1]])}, "spans of sequence 1"),
        ({"mode": "span", "spans": torch.tensor([[0, 3], [0, 1]])}, "spans of sequence 0"),
        ({"mode": "position", "spans": torch.tensor([0, 4])}, "spans of sequence 1"),
        ({"norm": Norm(torch.ones(3), 1e-6)}, "norm.weight_W must be"),
        ({"head": PoolHead(torch.ones(2, 3), torch.ones(2), torch.ones(2))}, "head.weight_VW must be"),
        ({"head": PoolHead(torch.ones(2, 4), torch.ones(2), torch.ones(3))}, "head.norm_bias_V must be"),
    ],
    ids=str,
)
def test_names_what_is_wrong(change, text):
    args = {"hidden_NW": torch.ones(6, 4), "cu_seqlens": torch.tensor([0, 2, 6])} | change
    with pytest.raises(InputError, match=text):
        pool(**args)


def test_attention_pool_names_what_is_wrong():
    with pytest.raises(InputError, match="query_D must be"):
        attention_pool(torch.ones(6, 4), torch.tensor([0, 6]), torch.ones(3))
    with pytest.raises(InputError, match="cu_chunks must rise"):
        attention_pool(torch.ones(6, 4), torch.tensor([0, 6, 6]), torch.ones(4))
