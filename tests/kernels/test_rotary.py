"""Rotary embedding of packed queries and keys: equal to transformers', and every backend against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding, apply_rotary_pos_emb

from harken.errors import InputError
from harken.kernels.backend import available
from harken.kernels.rotary import rotary, rotary_table, rotate_reference
from harken.kernels.testing import assert_as_good_as

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def make(N, H, G, D, dtype, device):
    """q and k as slices of one fused projection, and the table of two sequences end to end."""
    g = torch.Generator().manual_seed(N * 101 + H)
    qkv = torch.randn(N, H + 2 * G, D, generator=g).to(device, dtype)
    positions = torch.cat([torch.arange(N // 2), torch.arange(N - N // 2)]).to(device)
    inverse = 1.0 / 1e6 ** (torch.arange(0, D, 2, dtype=torch.float32, device=device) / D)
    return qkv[:, :H], qkv[:, H : H + G], *rotary_table(positions, inverse, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reference_is_that_of_transformers(dtype):
    q, k, cos, sin = make(21, 4, 2, 16, dtype, "cpu")
    rope = {"rope_type": "default", "rope_theta": 1e6}
    config = Qwen2Config(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, rope_parameters=rope)
    positions = torch.cat([torch.arange(10), torch.arange(11)])[None]
    table = Qwen2RotaryEmbedding(config)(q, positions)
    theirs = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], *table)
    for ours, other in zip(rotary(q, k, cos, sin, backend="reference"), theirs):
        assert torch.equal(ours, other[0].transpose(0, 1))


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(N=st.integers(0, 6), H=st.sampled_from([1, 3, 4]), G=st.sampled_from([1, 2]), D=st.sampled_from([2, 6, 16, 80]))
def test_as_good_as_torch(backend, dtype, N, H, G, D, device):
    q, k, cos, sin = make(N, H, G, D, dtype, device)
    for got, x in zip(rotary(q, k, cos, sin, backend=backend), (q, k)):
        exact = rotate_reference(x.double(), cos.double(), sin.double())
        assert_as_good_as(got, rotate_reference(x, cos, sin), exact)


@pytest.mark.parametrize("backend", available())
def test_queries_of_some_rows(backend, device, poison):
    q, k, cos, sin = make(9, 4, 2, 16, torch.float32, device)
    rows = torch.tensor([3, 8], device=device)
    all_q, all_k = rotary(q, k, cos, sin, backend=backend)
    some_q, same_k = rotary(q[rows], k, cos, sin, q_rows_M=rows, backend=backend)
    assert torch.equal(some_q, all_q[rows]) and torch.equal(same_k, all_k)


def test_names_what_is_wrong():
    q, k, cos, sin = make(3, 4, 2, 16, torch.float32, "cpu")
    with pytest.raises(InputError, match="q_MHD must be"):
        rotary(q[:2], k, cos, sin)
    with pytest.raises(InputError, match="cos_NP must be"):
        rotary(q, k, cos[:, :4], sin)
    with pytest.raises(InputError, match="even head width"):
        rotary(q[..., :15], k[..., :15], cos, sin)
