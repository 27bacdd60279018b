"""The modules that models are made of."""

import pytest
import torch
import torch.nn.functional as F

from harken.engine.models import layers


@pytest.mark.parametrize("shape", [(0, 48), (1, 48), (83, 48), (2, 3, 48)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_fast_product_is_the_product(shape, bias):
    generator = torch.Generator().manual_seed(3)
    draw = lambda *size: torch.randn(size, generator=generator)
    layer = layers.Linear(draw(31, 48), draw(31) if bias else None)
    # Rows of a wider tensor, as a slice of a fused product is.
    x = draw(*shape[:-1], 96)[..., 48:]
    want = F.linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
    with torch.inference_mode():
        got = layer(x)
    assert got.shape == want.shape and got.dtype == torch.float32
    assert torch.allclose(got.double(), want, rtol=1e-5, atol=1e-5)


def test_a_product_that_is_trained_through_has_a_gradient():
    x = torch.randn(3, 8, requires_grad=True)
    layers.linear(x, torch.randn(4, 8), None).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
