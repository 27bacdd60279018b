"""Compile every kernel for GPUs that are not here, and refuse spills and missing tensor cores.

    python -m harken.kernels.aot                                  # all kernels, all architectures; exit 1 on a fault
    python -m harken.kernels.aot --write kernels/RESOURCES.md     # the same, and keep the table
    python -m harken.kernels.aot --only logmel --arch 90

Each `kernels/*_triton.py` lists its kernels at production block sizes in AOT_CASES, a list of AotCase. ptxas, cuobjdump and
nvdisasm come with Triton. A fault is: a register spill (local loads or stores in the machine code), more shared memory than
the chip gives a block, or no tensor-core instruction where one is meant.
Source: own.
"""

import argparse
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..errors import BackendError

# Shared memory a block may have, in bytes, by compute capability: CUDA programming guide, technical specifications.
MAX_SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
TENSOR_CORE = re.compile(r"\b(?:UTC)?[HIQO]G?MMA\b")
LOCAL_MEMORY = re.compile(r"\b(?:STL|LDL)\b")


@dataclass(frozen=True, slots=True)
class AotCase:
    """A kernel as it is launched in production."""

    # What the table calls it: the block sizes belong in the name.
    name: str
    # The @triton.jit function itself, not its autotuner.
    kernel: Any
    # Type of every run-time argument: "*fp32", "*bf16", "*i64", "i32", "i64", "fp32" ...
    signature: Mapping[str, str]
    # Value of every tl.constexpr argument.
    constexprs: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 3
    # Run-time arguments that are multiples of 16, as aligned pointers and most strides are: without it nothing is vectorised.
    divisible: tuple[str, ...] = ()
    needs_mma: bool = False
    # Compute capabilities it is launched on.
    archs: tuple[int, ...] = field(default=(80, 90, 100))


@dataclass(frozen=True, slots=True)
class Resources:
    """What a case takes on one architecture."""

    name: str
    arch: int
    registers: int
    shared_bytes: int
    spills: int
    mma: int
    seconds: float
    faults: tuple[str, ...]


def cases() -> dict[str, list[AotCase]]:
    """AOT_CASES of every kernel file, by the name of its module."""
    package = __package__ or "harken.kernels"
    names = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name.endswith("_triton")]
    return {name: import_module(f"{package}.{name}").AOT_CASES for name in names}


def build(case: AotCase, arch: int) -> Any:
    """What triton.compile gives for sm_`arch`, with the machine code under asm["cubin"].

    Raises:
        BackendError: the case does not name the kernel's arguments.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    args = case.kernel.arg_names
    unknown = [a for a in args if a not in case.signature and a not in case.constexprs]
    surplus = [a for a in (*case.signature, *case.constexprs, *case.divisible) if a not in args]
    if unknown or surplus:
        raise BackendError(
            f"AOT case {case.name!r}: arguments without a type {unknown}, and types without an argument {surplus}"
        )
    source = ASTSource(
        fn=case.kernel,
        signature={a: case.signature.get(a, "constexpr") for a in args},
        constexprs=dict(case.constexprs),
        attrs={(args.index(a),): [["tt.divisibility", 16]] for a in case.divisible},
    )
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def compile_case(module: str, index: int, arch: int) -> Resources:
    """Compile one case for sm_`arch` and read the machine code."""
    import triton

    case, start = cases()[module][index], time.perf_counter()
    compiled = build(case, arch)
    code = _machine_code(compiled.asm["cubin"], Path(triton.__file__).parent / "backends/nvidia/bin")
    spills, mma = len(LOCAL_MEMORY.findall(code)), len(TENSOR_CORE.findall(code))
    shared = compiled.metadata.shared
    faults = []
    if spills:
        faults.append(f"{spills} local loads and stores")
    if shared > MAX_SHARED_BYTES[arch]:
        faults.append(f"{shared} bytes of shared memory, the chip gives {MAX_SHARED_BYTES[arch]}")
    if case.needs_mma and not mma:
        faults.append("no tensor-core instruction")
    registers = int(re.findall(r"REG:(\d+)", code)[-1])
    return Resources(case.name, arch, registers, shared, spills, mma, time.perf_counter() - start, tuple(faults))


def _machine_code(cubin: bytes, tools: Path) -> str:
    """What cuobjdump tells: a line of resources, then the instructions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [str(tools / "cuobjdump"), "-res-usage", "-sass", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def table(rows: list[Resources]) -> str:
    """The rows as Markdown."""
    import triton

    lines = [
        "# What every kernel takes",
        "",
        f"Compiled ahead of time with triton {triton.__version__}, and not run:",
        "`python -m harken.kernels.aot --write kernels/RESOURCES.md`. Spills are local loads and stores in the machine code;",
        "`mma` counts its tensor-core instructions; shared memory is a block's, in bytes.",
        "",
        "| kernel | sm | registers | shared | spills | mma |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {r.name} | {r.arch} | {r.registers} | {r.shared_bytes} | {r.spills} | {r.mma} |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="keep the table in this file")
    parser.add_argument("--only", default="", help="cases whose module or name holds this; empty: all")
    parser.add_argument(
        "--arch", type=int, action="append", help="compute capability, may be repeated; default 80, 90, 100"
    )
    args = parser.parse_args()
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise BackendError("TRITON_INTERPRET=1 leaves nothing to compile; unset it")
    jobs = [
        (module, i, arch)
        for module, listed in cases().items()
        for i, case in enumerate(listed)
        for arch in case.archs
        if (not args.arch or arch in args.arch) and (args.only in module or args.only in case.name)
    ]
    # A fresh process a worker: Triton's compiler holds the interpreter lock while it works.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(compile_case, *zip(*jobs))) if jobs else []
    for r in rows:
        verdict = "; ".join(r.faults) or "ok"
        figures = (
            f"{r.registers:3} registers {r.shared_bytes:6} shared {r.spills:3} spills {r.mma:4} mma {r.seconds:5.1f} s"
        )
        print(f"{r.name:48} sm_{r.arch:<3} {figures}  {verdict}", flush=True)
    if args.write:
        args.write.write_text(table(rows))
    return int(any(r.faults for r in rows))


if __name__ == "__main__":
    sys.exit(main())
