"""Numbers in fewer bits are the nearest that those bits can hold."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harken.engine.quantize import from_bfloat16, quantize, to_bfloat16

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, (3, 5), elements=FINITE))
def test_bfloat16_is_torchs(values):
    # 1 + 2^-8 and 1 + 3 * 2^-8 lie half-way between two numbers: ties go to even.
    values[0, :2] = [1 + 2**-8, 1 + 3 * 2**-8]
    bits = to_bfloat16(values)
    expected = torch.from_numpy(values).bfloat16()
    assert bits.dtype == np.uint16 and np.array_equal(bits.view(np.int16), expected.view(torch.int16).numpy())
    assert np.array_equal(from_bfloat16(bits), expected.float().numpy())


@given(arrays(np.float32, (4, 6), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)))
def test_int8_is_within_half_a_step(values):
    quantized, scale = quantize(values)
    assert quantized.dtype == np.int8 and np.abs(quantized.astype(int)).max(initial=0) <= 127
    assert (np.abs(quantized * scale[:, None] - values) <= 0.5001 * scale[:, None] + 1e-30).all()
