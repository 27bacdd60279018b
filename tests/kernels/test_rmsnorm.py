"""RMS norm, alone and after a residual: equal to the checkpoints' own norm, and every backend against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from harken.errors import InputError
from harken.kernels.backend import available
from harken.kernels.rmsnorm import add_rmsnorm, rmsnorm, rmsnorm_reference
from harken.kernels.testing import assert_as_good_as

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def make(N, W, dtype, device):
    """Rows of very different size, so that a wrong reduction shows."""
    g = torch.Generator().manual_seed(N * 10007 + W)
    x = torch.randn(N, W, generator=g) * torch.logspace(-2, 2, max(N, 1))[:N, None]
    return x.to(device, dtype), (torch.rand(W, generator=g) + 0.5).to(device, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reference_is_the_checkpoints_norm(dtype):
    x, weight = make(37, 96, dtype, "cpu")
    theirs = Qwen2RMSNorm(96, eps=1e-6).to(dtype)
    theirs.weight.data.copy_(weight)
    assert torch.equal(rmsnorm(x, weight, 1e-6, backend="reference"), theirs(x).detach())


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(N=st.integers(0, 5), W=st.sampled_from([1, 7, 63, 64, 65, 130]))
def test_as_good_as_torch(backend, dtype, N, W, device):
    x, weight = make(N, W, dtype, device)
    residual = x.flip(0) * 0.5
    exact = rmsnorm_reference(x.double(), weight.double(), 1e-6)
    assert_as_good_as(rmsnorm(x, weight, 1e-6, backend=backend), rmsnorm_reference(x, weight, 1e-6), exact)
    y, total = add_rmsnorm(x, residual, weight, 1e-6, backend=backend)
    assert torch.equal(total, x + residual)
    exact = rmsnorm_reference(total.double(), weight.double(), 1e-6)
    assert_as_good_as(y, rmsnorm_reference(total, weight, 1e-6), exact)


@pytest.mark.parametrize("backend", available())
def test_strided_rows(backend, device, poison):
    x, weight = make(5, 64, torch.bfloat16, device)
    x, weight = x[:, 8:48], weight[:40]
    assert torch.equal(
        rmsnorm(x, weight, 1e-6, backend=backend), rmsnorm(x.contiguous(), weight, 1e-6, backend=backend)
    )


@pytest.mark.parametrize(
    ("x", "weight", "text"),
    [
        (torch.ones(2, 3, 4), torch.ones(4), "x_NW must be"),
        (torch.ones(2, 4).int(), torch.ones(4), "x_NW must be"),
        (torch.ones(2, 4), torch.ones(3), "weight_W must be"),
        (torch.ones(2, 4), torch.ones(4).half(), "weight_W must be"),
        (torch.ones(4, 2).T, torch.ones(4), "contiguous"),
    ],
)
def test_names_what_is_wrong(x, weight, text):
    with pytest.raises(InputError, match=text):
        rmsnorm(x, weight, 1e-6)
