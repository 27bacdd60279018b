"""The C++ log-mel against the float64 reference: every front end, lengths where an edge rule changes, caps, packs, threads."""

import numpy as np
import pytest
import torch

from harken.errors import BackendError, InputError
from harken.kernels import backend, cpp
from harken.kernels.logmel import SPECS, LogMelSpec, logmel, logmel_reference

from ..kernels.test_logmel import CAP, EDGES, NEAR_CAP, clip, drawn_lengths, pack
from ..tolerances import LOGMEL_KERNEL

if cpp.missing():
    pytest.skip(f"the C++ core cannot run here: {cpp.missing()}", allow_module_level=True)


def assert_equals_reference(clips: list[np.ndarray], spec: LogMelSpec, **options) -> torch.Tensor:
    got = logmel(*pack(clips), spec, backend="cpp", **options)
    samples, cu = pack(clips)
    exact = logmel_reference(samples.double(), cu, spec, **options)
    assert (got.cu_frames, got.num_frames) == (exact.cu_frames, exact.num_frames)
    unit = spec.log_gain / spec.divisor / 0.25
    assert float((got.features_FM.double() - exact.features_FM).abs().max()) <= LOGMEL_KERNEL * unit
    return got.features_FM


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_front_end_at_every_edge(name):
    assert_equals_reference([clip(n, i) for i, n in enumerate(EDGES + NEAR_CAP + drawn_lengths(40, 3))], SPECS[name])


@pytest.mark.parametrize(("cap", "extra"), [(CAP, 2), (1600, 0), (1700, 3), (201, 1)])
def test_caps_and_extra_frames(cap, extra):
    lengths = EDGES + NEAR_CAP + [cap - 1, cap, cap + 1, cap - 160]
    clips = [clip(n, i) for i, n in enumerate(lengths)]
    assert_equals_reference(clips, SPECS["whisper-128"], max_samples=cap, extra_frames=extra)


def test_neighbours_and_threads_change_nothing():
    clips = [clip(n, i) for i, n in enumerate([777, 60_000, 1, 4000])]
    packed = assert_equals_reference(clips, SPECS["whisper-128"])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(logmel(*pack(clips), SPECS["whisper-128"], backend="cpp").features_FM, packed)
        alone = logmel(*pack(clips[1:2]), SPECS["whisper-128"], backend="cpp").features_FM
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, packed[5 : 5 + len(alone)])


def test_a_window_shorter_than_the_transform():
    spec = LogMelSpec("own", 16000, 640, 400, 200, 40, 20.0, 7600.0, "htk", "slaney", "reflect", 1e-8, 1.0, None)
    assert_equals_reference([clip(5000, 1), clip(641, 2)], spec)


def test_a_transform_that_the_kernel_lacks_falls_back_or_is_refused(monkeypatch):
    monkeypatch.delenv("HARKEN_BACKEND", raising=False)
    spec = LogMelSpec("own", 16000, 480, 480, 160, 40, 20.0, 7600.0, "htk", None, "reflect", 1e-8, 1.0, None)
    x, cu = pack([clip(5000)])
    assert torch.equal(logmel(x, cu, spec).features_FM, logmel(x, cu, spec, backend="reference").features_FM)
    with pytest.raises(BackendError, match="no C.. kernel"):
        logmel(x, cu, spec, backend="cpp")


def test_samples_that_are_not_finite_are_named():
    for at in (0, 4096, 9999):
        x = torch.zeros(10_000)
        x[at] = float("nan") if at else float("-inf")
        with pytest.raises(InputError, match=f"samples_N must be finite .* at {at}"):
            logmel(x, [0, 10_000], SPECS["whisper-80"], backend="cpp")


def test_it_is_the_choice_for_cpu_tensors(monkeypatch):
    monkeypatch.delenv("HARKEN_BACKEND", raising=False)
    assert backend.pick(None, torch.zeros(1), cpp=True) == "cpp"
    monkeypatch.setenv("HARKEN_BACKEND", "reference")
    assert backend.pick(None, torch.zeros(1), cpp=True) == "reference"
    monkeypatch.setenv("HARKEN_BACKEND", "cpp")
    assert backend.pick(None, torch.zeros(1), cpp=True) == "cpp"
    assert backend.pick(None, torch.zeros(1)) == "reference"
    with pytest.raises(BackendError, match="no C.. kernel of this operation"):
        backend.pick("cpp", torch.zeros(1))
