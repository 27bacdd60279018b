"""The small operations between products: SwiGLU, row placement, merging of attentions, Yes against No."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.errors import InputError
from harken.kernels.backend import available
from harken.kernels.gather_rows import gather_rows
from harken.kernels.merge_attention import merge_attention, merge_attention_reference
from harken.kernels.swiglu import swiglu, swiglu_reference
from harken.kernels.testing import assert_as_good_as
from harken.kernels.yes_no import yes_no, yes_no_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
few = settings(max_examples=6, deadline=None, derandomize=True)


def draw(*shape, dtype=torch.float32, device="cpu", seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(N=st.integers(0, 5), F=st.sampled_from([1, 7, 64, 65, 300]))
def test_swiglu_as_good_as_torch(backend, dtype, N, F, device):
    x = draw(N, 2 * F + 3, dtype=dtype, device=device)[:, 3:] * 4
    assert_as_good_as(swiglu(x, backend=backend), swiglu_reference(x), swiglu_reference(x.double()))


def test_swiglu_names_what_is_wrong():
    with pytest.raises(InputError, match="even width, got 5"):
        swiglu(torch.ones(2, 5))
    with pytest.raises(InputError, match="gate_up_NE must be"):
        swiglu(torch.ones(4))


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(data=st.data(), N=st.integers(1, 12), W=st.sampled_from([1, 5, 64, 130]))
def test_gather_rows_writes_each_row_once_and_nothing_else(backend, dtype, data, N, W, device):
    places = torch.tensor(sorted(data.draw(st.sets(st.integers(0, N - 1)))), dtype=torch.int64)
    wide = draw(N, W + 4, dtype=dtype, device=device)
    rows = draw(len(places), W, dtype=dtype, device=device, seed=1)
    expected = wide.clone()
    expected[places.to(device), :W] = rows
    stream = wide[:, :W]
    assert gather_rows(stream, rows, places, backend=backend) is stream
    assert torch.equal(wide, expected)


@pytest.mark.parametrize("places", [[0, 0], [2, 1], [-1, 0], [3, 4]])
def test_gather_rows_refuses_places(places):
    with pytest.raises(InputError, match="places_A must rise"):
        gather_rows(torch.zeros(4, 2), torch.ones(2, 2), torch.tensor(places))


def attention(q_NHD, k_MHD):
    """Output and log-sum-exp of plain attention with keys as values."""
    scores = torch.einsum("nhd,mhd->hnm", q_NHD, k_MHD)
    return torch.einsum("hnm,mhd->nhd", scores.softmax(-1), k_MHD), scores.logsumexp(-1)


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(N=st.integers(0, 5), H=st.integers(1, 3), D=st.sampled_from([1, 16, 80]), prefix=st.integers(1, 4))
def test_merged_attention_is_attention_over_all_keys(backend, dtype, N, H, D, prefix, device):
    q, k = draw(N, H, D, dtype=torch.float64, device=device), draw(7, H, D, dtype=torch.float64, device=device, seed=1)
    exact, exact_lse = attention(q, k)
    (out1, lse1), (out2, lse2) = attention(q, k[:prefix]), attention(q, k[prefix:])
    args = out1.to(dtype), lse1.float(), out2.to(dtype), lse2.float()
    out, lse = merge_attention(*args, backend=backend)
    plain, plain_lse = merge_attention_reference(*args)
    assert_as_good_as(out, plain, exact)
    assert_as_good_as(lse, plain_lse, exact_lse)


@pytest.mark.parametrize("backend", available())
def test_merge_leaves_out_a_part_without_keys(backend, device):
    out1, lse1 = torch.ones(3, 2, 4, device=device), torch.zeros(2, 3, device=device)
    nothing, none = torch.full_like(out1, torch.nan), torch.full_like(lse1, -torch.inf)
    out, lse = merge_attention(out1, lse1, nothing, none, backend=backend)
    assert torch.equal(out, out1) and torch.equal(lse, lse1)
    out, lse = merge_attention(nothing, none, nothing, none, backend=backend)
    assert not out.any() and lse.isneginf().all()


def test_merge_names_what_is_wrong():
    out, lse = torch.ones(3, 2, 4), torch.ones(2, 3)
    with pytest.raises(InputError, match="lse2_HN must be"):
        merge_attention(out, lse, out, lse.T)


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@few
@given(B=st.sampled_from([0, 7, 40]), W=st.sampled_from([1, 63, 64, 300]), adds=st.booleans())
def test_yes_no_as_good_as_torch(backend, dtype, B, W, adds, device):
    hidden, weight = draw(B, W, dtype=dtype, device=device), draw(2, W, dtype=dtype, device=device, seed=1) * 0.1
    added = draw(B, device=device, seed=2) if adds else None
    gain = 0.4 if adds else 1.0
    exact = yes_no_reference(hidden.double(), weight.double(), None if added is None else added.double(), gain=gain)
    got = yes_no(hidden, weight, added, gain=gain, backend=backend)
    assert_as_good_as(got, yes_no_reference(hidden, weight, added, gain=gain), exact)
    logits = hidden.double() @ weight.double().T * gain
    if added is not None:
        logits[:, 0] += added
    torch.testing.assert_close(exact, logits.softmax(-1)[:, 0])


def test_yes_no_names_what_is_wrong():
    with pytest.raises(InputError, match="weight_2W must be"):
        yes_no(torch.ones(3, 4), torch.ones(1, 4))
    with pytest.raises(InputError, match="added_B must be"):
        yes_no(torch.ones(3, 4), torch.ones(2, 4), torch.ones(2))
