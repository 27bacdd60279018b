"""libharken launches harken's Triton kernels: log-mel, pooling and top-K from C++ through a driver without a GPU.

The kernels are those that are embedded, run by Triton's interpreter; nothing here says how they fare on a device.
"""

import ctypes
import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harken.kernels.logmel import SPECS, logmel_reference
from harken.kernels.pool import Norm, PoolHead, pool_reference
from harken.kernels.testing import assert_as_good_as
from harken.kernels.topk import topk_reference

from ..tolerances import INDEX_SCORE_ATOL, LOGMEL_KERNEL
from . import launches
from .conftest import ROOT, run

pytest.importorskip("triton", reason="Triton is not installed: there is nothing to embed")
pytestmark = pytest.mark.timeout(1500)
PROGRAM = Path(launches.__file__)


def ask(built: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "answers.pickle"
    run(sys.executable, "-P", PROGRAM, built, out, *arguments, TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")
    return pickle.loads(out.read_bytes())


@pytest.fixture(scope="module")
def answers(built, tmp_path_factory) -> dict[str, Any]:
    return ask(built, tmp_path_factory.mktemp("answers"))


def answer(answers: dict[str, Any], name: str) -> tuple[Any, list[dict[str, Any]]]:
    got, log = answers[name]
    assert not isinstance(got, str), got
    return got, log


@pytest.mark.parametrize("name", launches.LOGMELS)
def test_logmel_is_the_reference(answers, name):
    spec_name, lengths, extra, cap = launches.LOGMELS[name]
    got, log = answer(answers, f"logmel {name}")
    spec, (samples, starts) = SPECS[spec_name], launches.clips(lengths)
    wanted = logmel_reference(
        torch.from_numpy(samples).double(), starts, spec, extra_frames=extra, max_samples=cap or None
    )
    assert got["rows"].tolist() == wanted.cu_frames
    size = wanted.features_FM.numel()
    features = torch.from_numpy(got["flat"][:size]).reshape(wanted.features_FM.shape)
    unit = spec.log_gain / spec.divisor / 0.25
    assert float((features.double() - wanted.features_FM).abs().max()) <= LOGMEL_KERNEL * unit
    assert np.isnan(got["flat"][size:]).all()
    assert [entry["name"] for entry in log] == ["logmel rows", "logmel raise"][: 1 + (spec.max_range is not None)]


@pytest.mark.parametrize("name", launches.POOLS)
def test_pooling_is_the_reference(answers, name):
    dtype, width, ranges, dim, has_norm, unit_input, unit = launches.POOLS[name]
    got, log = answer(answers, f"pool {name}")
    array, weight = launches.states(dtype, width)
    kind = getattr(torch, dtype)
    hidden = torch.from_numpy(array.view(np.int16)).view(kind) if dtype == "bfloat16" else torch.from_numpy(array)
    weights = [torch.from_numpy(x) for x in launches.head_of(dim, width)]

    def vectors(wide: torch.dtype) -> torch.Tensor:
        norm = Norm(torch.from_numpy(weight).to(torch.float64 if wide == torch.float64 else kind), 1e-6)
        states = hidden.double() if wide == torch.float64 else hidden
        cu = torch.zeros(len(ranges) + 1, dtype=torch.int64)
        head = PoolHead(*(w.to(wide) for w in weights), normalize_input=unit_input) if dim else None
        if not dim or has_norm:
            return pool_reference(
                states, cu, mode="span", spans=torch.tensor(ranges), norm=norm, head=head, normalize=unit
            )
        pooled = pool_reference(states, cu, mode="span", spans=torch.tensor(ranges), norm=norm, normalize=unit_input)
        projected = pooled @ weights[0].to(wide).T
        return torch.nn.functional.normalize(projected, dim=-1) if unit else projected

    assert_as_good_as(torch.from_numpy(got), vectors(torch.float32), vectors(torch.float64))
    assert [entry["name"] for entry in log][:2] == [f"pool rows {launches.DTYPES_IN_TRITON[dtype]}", "pool finish"]


@pytest.mark.parametrize("name", launches.SEARCHES)
def test_hits_are_the_references(answers, name, monkeypatch):
    dtype, num_rows, width, num_queries, k, filtered = launches.SEARCHES[name]
    (scores, ids), log = answer(answers, f"search {name}")
    queries, vectors = launches.draw(num_queries, width, seed=1), launches.vectors_of(num_rows, width)
    if dtype == "int8":
        # The C++ core on the CPU rounds queries once more.
        monkeypatch.setenv("HARKEN_BACKEND", "reference")
        found = launches.index_of(dtype, num_rows, width).search(queries, k)
        want_scores, want_ids = found.scores, found.positions
    else:
        keep = torch.from_numpy(launches.filter_of(num_rows).view(np.uint8)[: -(-num_rows // 8)]) if filtered else None
        corpus = torch.from_numpy(vectors).to(getattr(torch, dtype))
        want_scores, want_ids = (x.numpy() for x in topk_reference(torch.from_numpy(queries), corpus, k, keep=keep))
    assert np.array_equal(ids, want_ids)
    # The tolerance is of unit vectors.
    atol = INDEX_SCORE_ATOL["float32"] * width
    np.testing.assert_allclose(scores, want_scores, rtol=1e-6, atol=atol)
    names = [entry["name"].rsplit(" ", 1)[0] for entry in log]
    assert names == [] if width % 32 else set(names) == {"topk score", "topk rescore"}


def test_a_row_that_is_not_finite_is_named_unless_it_is_filtered_out(answers):
    assert re.search(r"^RuntimeError: 1: .*row 205 ", answers["a row that is not finite"])
    # 205 is 1 modulo 3.
    assert not isinstance(answers["not finite, and filtered out"], str)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ranges that overlap", "1: pool: range 1 is rows 4 to 9; wanted rows from 5 on, of 150"),
        ("ranges past the end", "1: pool: range 0 is rows 0 to 151; wanted rows from 0 on, of 150"),
        (
            "a width without a kernel",
            "7: pool: this library has no CUDA kernels for sm_90 and states of 40 float32 numbers",
        ),
        ("a head that is too wide", "1: pool: the head's vectors have 5000 numbers"),
        ("a launch that fails", "7: CUDA: kernel pool rows fp32, cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED"),
    ],
)
def test_what_cannot_be_is_an_error(answers, name, text):
    assert text in answers[name]


def test_all_of_it_goes_to_the_callers_stream(answers):
    vectors, features = answers["another stream"]
    assert np.array_equal(vectors, answer(answers, "pool head")[0])
    assert np.array_equal(features["flat"], answer(answers, "logmel htsat-64")[0]["flat"], equal_nan=True)
    assert "CUDA_ERROR_INVALID_VALUE" in answers["the wrong stream"]


def test_threads_share_one_module(answers):
    again, loads = answers["threads"]
    first, _ = answer(answers, "pool head")
    assert all(np.array_equal(vectors, first) for vectors in again)
    assert loads == 0


def test_a_device_of_another_generation_is_refused_and_searches_with_nvccs_kernels(built, tmp_path, answers):
    found = ask(built, tmp_path, "75")
    for what in ("logmel", "pool"):
        assert re.search(r"^RuntimeError: 7: .*no CUDA kernels .*sm_75", found[what])
    scores, ids = found["search"]
    assert np.array_equal(ids, answer(answers, "search float32")[0][1])
    assert found["launches"] == []


def test_without_a_driver_the_error_says_so(built):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("a CUDA driver is here")
    # Its own process: this one may have a fake driver.
    program = (
        "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); lib.test_error.restype = ctypes.c_char_p;"
        "print(lib.test_capability(0, ctypes.byref(ctypes.c_int())), lib.test_error().decode())"
    )
    said = run(sys.executable, "-c", program, built / "tests" / "libharken_on_fake_driver.so")
    assert said.startswith("7 CUDA device 0 was asked for; there is no CUDA driver: libcuda.so.1")


def test_every_architecture_gets_its_code(tmp_path):
    """A small kernel alone: the library's build compiles them all."""
    table, listed = tmp_path / "cubins.inc", tmp_path / "cubins.json"
    tool = ROOT / "csrc" / "tools" / "embed_kernels.py"
    run(sys.executable, "-P", tool, table, "--only", "pool finish", "--manifest", listed, "--fatbinary=", "--jobs", "1")
    codes = json.loads(listed.read_text())
    assert [code["arch"] for code in codes] == [80, 90, 100]
    assert [code["exact"] for code in codes] == [False, True, True]
    text = table.read_text()
    image = text[text.index("kImages[] =") : text.index("kCubins[]")]
    image = bytes(int(byte, 8) for byte in re.findall(r"\\(\d{3})", image))
    rows = re.findall(r"\{(\d+), (true|false), kImages \+ (\d+), (\d+), (\d+), (\d+), (\d+)\}", text)
    assert len(rows) == 3
    for code, row in zip(codes, rows):
        start, size = int(row[2]), int(row[3])
        assert image[start : start + 4] == b"\x7fELF" and start % 16 == 0 and size == code["num_bytes"]
        assert [int(n) for n in row[4:]] == [code[n] for n in ("num_threads", "shared_bytes", "num_scratch")]
    assert '"pool finish", "pool_finish_kernel", "PPPPI"' in text
    assert list(codes[0]["arguments"]) == ["partial_ptr", "cu_ptr", "spans_ptr", "out_ptr", "W"]
