"""libharken with its CUDA part, built where nvcc is: what it needs, how large it is, and that it answers without a GPU."""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, run

if not (shutil.which("cmake") and shutil.which("nvcc")):
    pytest.skip("cmake or nvcc is not here: the CUDA part cannot be built", allow_module_level=True)

# nvcc and ptxas take minutes where nothing is built yet.
pytestmark = pytest.mark.timeout(2400)
BUILD = ROOT / "build" / "csrc-cuda"
MAX_BYTES = 3_000_000


@pytest.fixture(scope="module")
def library() -> Path:
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        run(
            "cmake", "-S", ROOT / "csrc", "-B", BUILD, *generator, "-DHARKEN_CUDA=ON", "-DHARKEN_STATIC=OFF",
            "-DHARKEN_TESTS=OFF", f"-DPython_EXECUTABLE={sys.executable}",
        )  # fmt: skip
        run("cmake", "--build", BUILD, "--parallel", str(min(2, os.cpu_count() or 1)))
    return BUILD / "libharken.so"


def test_needs_no_part_of_cuda_and_is_small(library, tmp_path):
    needed = set(re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", library)))
    assert needed <= {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
    stripped = tmp_path / "libharken.so"
    run("strip", "-o", stripped, library)
    size = stripped.stat().st_size
    listed = BUILD / "cubins" / "cubins.json"
    images = sum(code["num_bytes"] for code in json.loads(listed.read_text())) if listed.is_file() else 0
    print(f"libharken with CUDA: {size} bytes, of which Triton's kernels {images}")
    assert size < MAX_BYTES


def ends(whole: bytes, start: int) -> set[int]:
    """The size that a fat binary or an ELF file at a place gives itself."""
    number = lambda place, size: int.from_bytes(whole[start + place : start + place + size], "little")
    if whole[start : start + 4] == b"\x7fELF":
        return {number(40, 8) + number(58, 2) * number(60, 2)}
    return {number(6, 2) + number(8, 8)}


def test_carries_every_kernel_for_every_architecture(library):
    if not all(importlib.util.find_spec(name) for name in ("torch", "triton")):
        pytest.skip("torch or Triton is not installed: no kernel is embedded")
    codes = json.loads((BUILD / "cubins" / "cubins.json").read_text())
    assert {code["arch"] for code in codes} == {80, 90, 100}
    whole = library.read_bytes()
    # Fat binaries, and plain ELF files where they were not packed.
    starts = [found.start() for found in re.finditer(re.escape(b"\x50\xed\x55\xba") + b"|\x7fELF", whole)]
    sizes = {code["num_bytes"] for code in codes}
    images = {hashlib.sha256(whole[i : i + n]).hexdigest() for i in starts for n in ends(whole, i) & sizes}
    by_kernel: dict[str, set[int]] = {}
    for code in codes:
        key = code["name"] + json.dumps(code["constexprs"])
        by_kernel.setdefault(key, set()).add(code["arch"])
        assert code["image"] in images, (code["name"], code["arch"])
        assert code["num_threads"] % 32 == 0 and 0 <= code["num_scratch"] <= 2
    assert all(archs == {80, 90, 100} for archs in by_kernel.values())
    assert {name.split()[0] for name in by_kernel} == {"logmel", "pool", "topk"}


def test_loads_with_every_symbol_bound_and_searches_without_a_gpu(library):
    program = """
import ctypes, os, sys
lib = ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
lib.harken_last_error.restype = ctypes.c_char_p
rows, index = (ctypes.c_float * 4)(1, 0, 0, 1), ctypes.c_void_p()
assert lib.harken_index_from_rows(rows, ctypes.c_size_t(2), ctypes.c_size_t(2), 1, ctypes.byref(index)) == 0
status = lib.harken_index_to_cuda(index, 0) if lib.harken_num_cuda_devices() == 0 else None
text = lib.harken_last_error().decode()
query, score, row = (ctypes.c_float * 2)(0, 2), ctypes.c_float(), ctypes.c_int64()
size = ctypes.c_size_t(1)
assert lib.harken_index_search(index, query, size, size, None, ctypes.byref(score), ctypes.byref(row)) == 0
print(status, score.value, row.value, text)
"""
    said = run(sys.executable, "-c", program, library)
    if said.startswith("None"):
        pytest.skip("a CUDA device is here: ctest's test_cuda searches on it")
    assert said.startswith("7 2.0 1 CUDA device 0 was asked for; there are 0")
