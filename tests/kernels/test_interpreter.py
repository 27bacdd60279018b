"""The mended interpreter: bfloat16 as on a GPU, loops with run-time bounds."""

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")
import triton.language as tl  # noqa: E402

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled here, not interpreted")


@triton.jit
def _arithmetic_kernel(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    cols = tl.arange(0, N)
    a, b = tl.load(a_ptr + cols), tl.load(b_ptr + cols)
    tl.store(out_ptr + cols, a * b + a)
    tl.store(out_ptr + N + cols, tl.where(a > b, a, b))
    tl.store(out_ptr + 2 * N + cols, tl.exp(a.to(tl.float32)).to(tl.bfloat16))
    tl.store(out_ptr + 3 * N + cols, a.to(tl.float16).to(tl.bfloat16))


@triton.jit
def _dot_kernel(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    tl.store(out_ptr + i * N + j, tl.dot(tl.load(a_ptr + i * N + j), tl.load(b_ptr + i * N + j)))


@triton.jit
def _sum_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    total = 0.0
    for start in range(0, n, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(x_ptr + cols, mask=cols < n, other=0.0), axis=0)
    tl.store(out_ptr, total)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)


def test_bfloat16_arithmetic_rounds_as_torch_does():
    a, b = draw(2, 64)
    out = torch.empty(4, 64, dtype=torch.bfloat16)
    _arithmetic_kernel[(1,)](a, b, out, N=64)
    wanted = torch.stack([a * b + a, torch.maximum(a, b), a.float().exp().bfloat16(), a.half().bfloat16()])
    torch.testing.assert_close(out, wanted, rtol=0, atol=0)


def test_bfloat16_product():
    a, b = draw(2, 16, 16)
    out = torch.empty(16, 16)
    _dot_kernel[(1,)](a, b, out, N=16)
    torch.testing.assert_close(out, a.float() @ b.float())


@pytest.mark.parametrize("n", [1, 16, 37])
def test_loop_to_a_runtime_bound(n):
    x, out = torch.arange(n, dtype=torch.float32), torch.empty(1)
    _sum_kernel[(1,)](x, out, n, BLOCK=16)
    assert out.item() == n * (n - 1) / 2
