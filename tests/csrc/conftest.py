"""csrc/ built once into build/csrc-tests: library, Python module and C++ tests; changed sources are built again."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "csrc-tests"
# The tests of the CUDA part launch Triton's kernels; one architecture will do.
HAS_TRITON = all(importlib.util.find_spec(name) for name in ("torch", "triton"))
CUBINS = ["-DHARKEN_CUBINS=ON", "-DHARKEN_CUBIN_ARCHS=90"] if HAS_TRITON else []


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a command prints; its whole output where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder that csrc/ was built in."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not here: the C++ core cannot be built")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler is here: the C++ core cannot be built")
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not here: the C++ core cannot be built")
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        run(
            "cmake", "-S", ROOT / "csrc", "-B", BUILD, *generator, "-DHARKEN_PYTHON=ON", "-DHARKEN_TESTS=ON",
            "-DHARKEN_SHARED=ON", "-DHARKEN_STATIC=ON", f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", *CUBINS,
        )  # fmt: skip
        run("cmake", "--build", BUILD, "--parallel", str(min(2, os.cpu_count() or 1)))
    return BUILD


@pytest.fixture(scope="session")
def core(built: Path) -> ModuleType:
    """The module `harken.csrc._C` as it was built just now."""
    path = next(path for suffix in EXTENSION_SUFFIXES if (path := built / "binding" / f"_C{suffix}").is_file())
    spec = spec_from_file_location("harken.csrc._C", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix that the library was installed to."""
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", built, "--prefix", prefix, "--component", "harken")
    return prefix
