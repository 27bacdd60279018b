"""Build script. The checkout itself is the package `harken`; each folder is a subpackage of it.

The C++ core (csrc/) is built by CMake when a compiler is there; without one everything else is installed, and the core says
so when it is asked for. HARKEN_CSRC=0 leaves it out, HARKEN_CSRC=1 fails without it. HARKEN_CMAKE_ARGS are given to CMake.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

FOLDERS = ["engine", "kernels", "training", "bench", "csrc"]
CSRC = Path(__file__).resolve().parent / "csrc"


class BuildCore(build_ext):
    """Builds csrc/ once: the extension `harken.csrc._C`, and in a wheel also headers, library and CMake files beside it."""

    def run(self) -> None:
        # setuptools builds aside and copies the extension into the checkout afterwards.
        self.in_checkout = bool(self.inplace or self.editable_mode)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        wanted = os.environ.get("HARKEN_CSRC", "")
        if wanted == "0":
            return
        missing = missing_tools()
        try:
            if missing:
                raise RuntimeError(f"{', '.join(missing)} not found")
            self._build(Path(self.get_ext_fullpath(ext.name)).resolve().parent)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            text = (
                f"harken: the C++ core was not built: {error}. It needs CMake 3.25 or newer, a C++20 compiler (g++ 11 or "
                "clang 14) and pybind11."
            )
            if wanted == "1":
                raise SystemExit(text) from error
            print(f"{text} Everything else works without it.", file=sys.stderr)

    def _build(self, package: Path) -> None:
        import pybind11

        build = Path(self.build_temp).resolve() / "csrc"
        configure = [
            "cmake", "-S", str(CSRC), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DHARKEN_PYTHON=ON",
            "-DHARKEN_TESTS=OFF", "-DHARKEN_STATIC=OFF", "-DHARKEN_SOVERSION=OFF", "-DCMAKE_INSTALL_LIBDIR=lib",
            f"-DHARKEN_SHARED={'OFF' if self.in_checkout else 'ON'}", f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", *shlex.split(os.environ.get("HARKEN_CMAKE_ARGS", "")),
        ]  # fmt: skip
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        parallel = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        run(configure)
        run(["cmake", "--build", str(build), "--parallel", parallel])
        components = ["python"] if self.in_checkout else ["python", "harken"]
        for component in components:
            install = ["cmake", "--install", str(build), "--prefix", str(package), "--component", component, "--strip"]
            run(install)

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if Path(path).exists()]


def missing_tools() -> list[str]:
    compilers = [os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++"]
    missing = [] if shutil.which("cmake") else ["cmake"]
    if not any(name and shutil.which(name) for name in compilers):
        missing.append("a C++ compiler")
    try:
        import pybind11  # noqa: F401
    except ImportError:
        missing.append("pybind11")
    return missing


def run(command: list[str]) -> None:
    """Run quietly; what it said is shown where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout[-8000:])
        raise RuntimeError(f"`{' '.join(command[:3])} ...` failed (its output is above)")


setup(
    package_dir={"harken": "."},
    py_modules=["harken.__init__", "harken.errors"],  # the root's face, and none of its scripts
    packages=["harken." + p for p in find_packages(include=[g for f in FOLDERS for g in (f, f"{f}.*")])],
    package_data={
        "": ["py.typed", "*.md", "*.json", "*.csv"],
        "harken.engine": ["assets/**/*", "serve/page/*"],
        "harken.training": ["configs/*.json", "configs/ablation/*.json"],
        "harken.bench.quality": ["queries/*.jsonl"],
        "harken.csrc": ["*.pyi"],
    },
    include_package_data=False,
    ext_modules=[Extension("harken.csrc._C", [], optional=True)],
    cmdclass={"build_ext": BuildCore},
)
