"""8-bit linear layers: close to the exact product, row by row, and close vectors for whole models."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.models.fp8 import Fp8Linear, quantize_linears, quantize_rows
from harken.engine.models.layers import Linear
from harken.engine.models.load import load_model
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer

from ... import tiny, tolerances


def linear(num_in=64, num_out=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num_out, num_in, generator=generator) * torch.logspace(-3, 3, num_out)[:, None]
    return Linear(weight, torch.randn(num_out, generator=generator))


@given(st.integers(0, 2**31), st.floats(-20, 20))
@settings(max_examples=50, deadline=None)
def test_a_row_comes_back_within_half_a_step(seed, exponent):
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
    quantized, scale = quantize_rows(x)
    # Three bits of mantissa: half a step is 1/16 of the number, or of the smallest normal one.
    step = torch.maximum(x.abs(), scale * 2.0**-6) / 16
    assert ((quantized.float() * scale - x).abs() <= step * 1.001).all()


def test_zeros_stay_zeros():
    quantized, scale = quantize_rows(torch.zeros(2, 16))
    assert not (quantized.float() * scale).any()


def test_close_to_the_product_and_independent_of_neighbours():
    exact, fast = linear(), Fp8Linear(linear())
    x = torch.randn(9, 64, generator=torch.Generator().manual_seed(1)) * torch.logspace(-2, 2, 9)[:, None]
    got, want = fast(x) - exact.bias, exact(x) - exact.bias
    cosine = torch.nn.functional.cosine_similarity(got, want)
    assert cosine.min() > 0.995
    assert torch.equal(fast(x)[3:4], fast(x[3:4]))


def test_whole_model_keeps_its_direction(tmp_path):
    folder = tiny.qwen2_audio(tmp_path / "model", text="llama", num_mels=80, tied=True)
    exact = load_model(folder, dtype=torch.float32, device="cpu")
    fast = load_model(folder, dtype=torch.float32, device="cpu")
    assert quantize_linears(fast) == 4 * 3 + 4 * 2
    template = Template(Tokenizer(folder), "<|im_start|>{text}<|im_end|>\n")
    prompts = [template.text(t) for t in ("a dog barks", "rain", "music over cars")]
    pooled = []
    for model in (exact, fast):
        with torch.inference_mode():
            hidden, segments = model.hidden(prompts, None, causal=True)
        pooled.append(torch.stack([hidden[a:b].mean(0) for a, b in zip(segments.starts, segments.starts[1:])]))
    assert torch.nn.functional.cosine_similarity(*pooled).min() > tolerances.COSINE_FP8
    assert not torch.equal(*pooled)
