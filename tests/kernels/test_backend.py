"""pick: what is asked for runs or raises with the reason; what is not asked for falls back."""

import pytest
import torch

from harken.errors import BackendError
from harken.kernels import backend
from harken.kernels.testing import assert_as_good_as

X = torch.zeros(3)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.delenv("HARKEN_BACKEND", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_cpu_tensors_take_the_reference(no_gpu):
    assert backend.pick(None, X) == "reference"
    assert backend.available() == ("reference",)


def test_forced_triton_says_why_it_cannot_run(no_gpu):
    with pytest.raises(BackendError, match="no CUDA device"):
        backend.pick("triton", X)


def test_unknown_backend_is_named(no_gpu):
    with pytest.raises(BackendError, match="'opencl' cannot run: no backend of that name"):
        backend.pick("opencl", X)


def test_environment_forces_and_the_argument_wins(no_gpu, monkeypatch):
    monkeypatch.setenv("HARKEN_BACKEND", "triton")
    with pytest.raises(BackendError, match="HARKEN_BACKEND='triton'"):
        backend.pick(None, X)
    assert backend.pick("reference", X) == "reference"


def test_interpreter_runs_on_cpu_tensors_only_when_asked(no_gpu, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.pick(None, X) == "reference"
    assert backend.pick("triton", X) == "triton"
    assert backend.available() == ("triton", "reference")


def test_compiled_triton_refuses_cpu_tensors(no_gpu, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend.pick(None, X) == "reference"
    with pytest.raises(BackendError, match="wants CUDA tensors, got cpu"):
        backend.pick("triton", X)


def test_cpp_runs_where_the_core_was_built_and_the_operation_has_it(no_gpu, monkeypatch):
    monkeypatch.setattr(backend.cpp_core, "missing", lambda: None)
    assert backend.pick(None, X, cpp=True) == "cpp" and backend.pick(None, X) == "reference"
    assert backend.available(cpp=True) == ("cpp", "reference") and "cpp" not in backend.available()
    with pytest.raises(BackendError, match="wants CPU tensors, got meta"):
        backend.pick("cpp", X, torch.zeros(1, device="meta"), cpp=True)
    assert backend.pick(None, torch.zeros(1, device="meta"), cpp=True) == "reference"


def test_without_the_core_cpu_tensors_take_the_reference(no_gpu, monkeypatch):
    monkeypatch.setattr(backend.cpp_core, "missing", lambda: "the core was not built")
    assert backend.pick(None, X, cpp=True) == "reference" and backend.available(cpp=True) == ("reference",)
    with pytest.raises(BackendError, match="'cpp' cannot run: the core was not built"):
        backend.pick("cpp", X, cpp=True)
    monkeypatch.setenv("HARKEN_BACKEND", "cpp")
    with pytest.raises(BackendError, match="HARKEN_BACKEND='cpp' cannot run: the core was not built"):
        backend.pick(None, X)


def test_bound_follows_what_plain_torch_errs():
    exact = torch.tensor([1.0, 2.0], dtype=torch.float64)
    plain = (exact + 1e-3).float()
    assert_as_good_as((exact - 1.9e-3).float(), plain, exact)
    with pytest.raises(AssertionError, match="error"):
        assert_as_good_as((exact - 2.1e-3).float(), plain, exact)
    with pytest.raises(AssertionError, match="not finite"):
        assert_as_good_as(torch.tensor([1.0, float("nan")]), plain, exact)
