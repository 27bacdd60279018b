"""The log-mel kernel against the float64 reference: ragged packs, edges, all front ends, both passes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.kernels.backend import available
from harken.kernels.logmel import SPECS, FramePlan, logmel, logmel_reference

from ..tolerances import LOGMEL_KERNEL

if "triton" not in available():
    pytest.skip("Triton cannot run here, not even interpreted", allow_module_level=True)

from harken.kernels import logmel_triton  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter pays by the operation, not by the element: whole products at a time.
WIDE = logmel_triton.Tiling(32, 128, 128, 4, 1)


@pytest.fixture(autouse=True)
def tiling(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(logmel_triton, "TILING", WIDE)


def draw(lengths: list[int], scale: float = 0.1) -> tuple[torch.Tensor, list[int]]:
    x = scale * torch.randn(sum(lengths), generator=torch.Generator().manual_seed(sum(lengths)))
    cu = np.cumsum([0, *lengths]).tolist()
    for end in cu[1:]:
        x[max(0, end - 60) : end] *= 8
    return x, cu


def check(x: torch.Tensor, cu: list[int], spec, **options) -> torch.Tensor:
    got = logmel(x.to(DEVICE), cu, spec, backend="triton", **options)
    exact = logmel_reference(x.double(), cu, spec, **options)
    assert (got.cu_frames, got.num_frames) == (exact.cu_frames, exact.num_frames)
    assert got.features_FM.shape == exact.features_FM.shape
    unit = spec.log_gain / spec.divisor / 0.25
    error = float((got.features_FM.cpu().double() - exact.features_FM).abs().max())
    assert error <= LOGMEL_KERNEL * unit, f"{spec.name}, clips end at {cu}: {error:.2e}"
    return got.features_FM


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_front_end(name, poison):
    check(*draw([321, 1, 1700]), SPECS[name])


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    extra=st.integers(0, 2),
    cap=st.sampled_from([None, 1600, 1700]),
)
def test_drawn_ragged_packs(lengths, extra, cap):
    check(*draw(lengths), SPECS["whisper-80"], extra_frames=extra, max_samples=cap)


@pytest.mark.parametrize("frames", [31, 32, 33])
def test_clips_that_end_at_a_tile_edge(frames):
    check(*draw([frames * 160]), SPECS["whisper-128"])


def test_silence_full_scale_and_a_loud_end():
    check(torch.zeros(640), [0, 1, 640], SPECS["whisper-128"])
    check(torch.ones(800), [0, 800], SPECS["whisper-128"])
    quiet = torch.full((960,), 1e-4)
    quiet[-60:] = 1.0
    check(quiet, [0, 960], SPECS["whisper-128"])


def test_rounding_to_half_comes_last():
    x, cu = draw([900, 400])
    x[:500] *= 1e-5
    full = logmel(x.to(DEVICE), cu, SPECS["whisper-128"], backend="triton").features_FM
    for dtype in (torch.bfloat16, torch.float16):
        half = logmel(x.to(DEVICE), cu, SPECS["whisper-128"], out_dtype=dtype, backend="triton").features_FM
        assert torch.equal(half, full.to(dtype))


def test_no_clips_give_no_rows():
    got = logmel(torch.zeros(0, device=DEVICE), [0], SPECS["whisper-128"], backend="triton")
    assert got.features_FM.shape == (0, 128)


def test_production_tiling(monkeypatch):
    monkeypatch.undo()
    check(*draw([700]), SPECS["whisper-80"])


def test_offsets_past_32_bits_are_kept():
    far, one = np.array([2**33]), np.array([480])
    table, num_tiles = logmel_triton._table(FramePlan(far, one, far, one, one, one), 32)
    assert table.dtype == np.int64 and num_tiles == 15
    assert table[0] == 2**33 and table[2] == 2**31 - 1
