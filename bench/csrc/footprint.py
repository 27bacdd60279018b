"""How large libharken is, and what programs with it take in memory beside programs with torch, ONNX Runtime and OpenVINO.

    python -m harken.bench.csrc.footprint [--model FOLDER --recipe NAME] [--exports FOLDER] [--build FOLDER] [--out FILE]

Question: what does it cost to carry a model in a program of one's own?
Programs: C with libharken, with each dtype of weights and with its network in ONNX Runtime; C++ with libtorch, before it has
          a model; Python with libharken, with harken's torch engine, and with ONNX Runtime and OpenVINO on the graphs alone.
          Each takes one thread, sentences and sounds of two to three seconds.
Reads:    resident = the most that was ever resident, mapped weights that were touched among it; private = what at the end is
          no file's, which a second process pays again. Library = what the runtime's stripped shared libraries weigh on disk.

The library is built from the checkout, with and without its CUDA part where nvcc is; that takes minutes the first time.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import BackendError, HarkenError
from ..record import save
from .encode import DTYPES, make_exports
from .runtimes import RUNTIMES, onnxruntime_library
from .threads import VARIABLES

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
_PROGRAM = """
import sys
from pathlib import Path
what, model, recipe, exports = sys.argv[1:]
if what in ("torch", "libharken"):
    import numpy
    if what == "torch":
        import harken
        encoder = harken.load(model or None, recipe=recipe or None, device="cpu", dtype="float32")
    else:
        from harken import csrc
        encoder = csrc.core().Model(exports + "/float32", num_threads=1)
    encoder.encode_text(["a dog barks"])
    encoder.encode_audio([(numpy.linspace(-0.5, 0.5, 32000, dtype="float32"), 16000)])
else:
    from harken.bench.csrc.runtimes import RUNTIMES
    from harken.engine.export.standalone.run_graphs import golden_vectors
    golden_vectors(RUNTIMES[what](Path(exports) / "onnx", 1))
print(open("/proc/self/status").read())
"""


def read_status(text: str) -> dict[str, int]:
    """resident_bytes and private_bytes from lines of /proc/self/status."""
    named = {"VmHWM": "resident_bytes", "RssAnon": "private_bytes"}
    return {
        named[name]: 1024 * int(kib) for name, kib in re.findall(r"^(VmHWM|RssAnon):\s*(\d+) kB", text, re.MULTILINE)
    }


def run(*command: str | Path) -> str:
    """What a command prints.

    Raises:
        BackendError: it fails; the end of what it said.
    """
    given = os.environ | dict.fromkeys(VARIABLES, "1")
    done = subprocess.run([str(part) for part in command], env=given, capture_output=True, text=True)
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip()[-500:]
        raise BackendError(f"{Path(command[0]).name} failed with status {done.returncode}: {told}")
    return done.stdout


def build_library(folder: Path, *, cuda: bool) -> Path:
    """libharken.so, built and stripped in `folder`."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(
        "cmake", "-S", CSRC, "-B", folder, *generator, "-DCMAKE_BUILD_TYPE=Release", "-DHARKEN_TESTS=OFF",
        "-DHARKEN_STATIC=OFF", "-DHARKEN_SOVERSION=OFF", f"-DHARKEN_CUDA={'ON' if cuda else 'OFF'}",
    )  # fmt: skip
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1))
    stripped = folder / "stripped"
    stripped.mkdir(exist_ok=True)
    run("strip", "-o", stripped / "libharken.so", folder / "libharken.so")
    return stripped / "libharken.so"


def stripped_bytes(libraries: Sequence[Path], scratch: Path) -> int:
    """What shared libraries weigh without their symbols."""
    for path in libraries:
        run("strip", "-o", scratch / path.name, path)
    return sum((scratch / path.name).stat().st_size for path in libraries)


def c_programs(library: Path, exports: Path, scratch: Path) -> list[dict[str, Any]]:
    """Rows of a C program with libharken."""
    program = scratch / "resident"
    run(
        os.environ.get("CC", "cc"), "-O2", HERE / "resident.c", f"-I{CSRC / 'include'}", library,
        f"-Wl,-rpath,{library.parent}", "-o", program,
    )  # fmt: skip
    own = library.stat().st_size
    rows = [
        {"what": f"C, libharken {dtype}", **read_status(run(program, exports / dtype)), "library_bytes": own}
        for dtype in DTYPES
    ]
    runtime = onnxruntime_library()
    if runtime is not None and (exports / "onnx").is_dir():
        taken = read_status(run(program, exports / "float32", exports / "onnx", runtime))
        both = own + stripped_bytes([runtime], scratch)
        rows.append({"what": "C, libharken in onnxruntime", **taken, "library_bytes": both})
    return rows


def libtorch_program(scratch: Path) -> dict[str, Any]:
    """The row of a C++ program with libtorch."""
    from torch.utils.cpp_extension import include_paths, library_paths

    program, folders = scratch / "libtorch", library_paths()
    headers = [f"-isystem{path}" for path in include_paths()]
    linked = [flag for path in folders for flag in (f"-L{path}", f"-Wl,-rpath,{path}")]
    run(
        os.environ.get("CXX", "c++"), "-std=c++20", HERE / "libtorch.cpp", *headers, *linked, "-ltorch_cpu", "-lc10",
        "-o", program,
    )  # fmt: skip
    libraries = [Path(folders[0]) / name for name in ("libtorch_cpu.so", "libc10.so")]
    return {
        "what": "C++, libtorch without a model",
        **read_status(run(program)),
        "library_bytes": stripped_bytes(libraries, scratch),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--exports", help="folder that keeps the model's exports; default: made anew, thrown away")
    parser.add_argument("--build", help="folder that keeps the built library; default: built anew, thrown away")
    parser.add_argument("--out", type=Path, help="JSON for `harken bench report`")
    args = parser.parse_args(arguments)
    if not (CSRC / "CMakeLists.txt").is_file():
        parser.error(f"builds the library from harken's sources; {CSRC} holds none: run it from a checkout")
    rows: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        exports, build = Path(args.exports or scratch / "exports"), Path(args.build or scratch / "build")
        make_exports(args.model, args.recipe, exports)
        rows += c_programs(build_library(build / "cpu", cuda=False), exports, scratch)
        if shutil.which("nvcc"):
            size = build_library(build / "cuda", cuda=True).stat().st_size
            rows.append({"what": "libharken with its CUDA part", "library_bytes": size})
        else:
            absent["libharken with its CUDA part"] = "nvcc is not installed"
        for name in ("libharken", "torch", *RUNTIMES):
            if name in RUNTIMES and (find_spec(name) is None or not (exports / "onnx").is_dir()):
                absent[f"Python, {name}"] = "is not installed, or the model was not exported to ONNX"
                continue
            told = run(sys.executable, "-P", "-c", _PROGRAM, name, args.model, args.recipe, exports)
            rows.append({"what": f"Python, {name}", **read_status(told)})
        try:
            rows.append(libtorch_program(scratch))
        except HarkenError as error:
            absent["C++, libtorch without a model"] = str(error)
    for row in rows:
        figures = (f"{name.removesuffix('_bytes')} {row[name] / 1e6:.1f} MB" for name in row if name.endswith("_bytes"))
        print(f"{row['what']:32} {'  '.join(figures)}")
    for what, reason in absent.items():
        print(f"not run: {what}: {reason}")
    if args.out:
        what = f"What it takes to carry {Path(args.model).name or 'harken-mini'}, one thread, a sentence and a sound"
        save(args.out, "csrc", what, {"absent": absent}, rows)


if __name__ == "__main__":
    main()
