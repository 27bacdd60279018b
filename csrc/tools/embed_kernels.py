"""Compile harken's Triton kernels for GPUs that need not be here, and write them as a table for the C++ library.

    python csrc/tools/embed_kernels.py build/cubins.inc                          # sm_80, sm_90, sm_100
    python csrc/tools/embed_kernels.py out.inc --arch 90 --only pool --manifest out.json

What is compiled comes from the kernels' own modules: block sizes, warps, types and what may be taken for a multiple of 16.
What the launch needs besides (threads, shared memory, pointers that this Triton appends) is read off the compiled code.
Images are compressed by `fatbinary`, where it is found. Needs torch and Triton (3.6 or newer), no GPU.
Source: own.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ARCHS = (80, 90, 100)
# Rows up to a width run in the next block, a part of whose lanes then idles: more blocks are more code.
POOL_WIDTHS = (512, 2048, 4096, 8192)
HEAD_WIDTHS = (512, 4096)
# Few queries and many.
QUERIES = (1, 128)
# A letter a type of argument (cubins.h), and what PTX may call it.
LETTERS = {"i32": "i", "i64": "l", "fp32": "f"}
PTX_TYPES = {"p": ("u64", "b64"), "l": ("u64", "s64", "b64"), "i": ("u32", "s32", "b32"), "f": ("f32", "b32")}


@dataclass(frozen=True)
class Code:
    """A kernel for one architecture; the fields of cuda::Cubin."""

    arch: int
    exact: bool
    entry: str
    num_threads: int
    shared_bytes: int
    num_scratch: int
    image: bytes


def harken() -> Any:
    """The package of this checkout, whether or not another is installed."""
    if "harken" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "harken", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None and spec.loader is not None
        module = sys.modules["harken"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["harken"]


def cases() -> list[tuple[str, Any]]:
    """Name in the table and AotCase of every kernel that the library carries."""
    harken()
    import torch

    from harken.kernels import logmel_triton as logmel
    from harken.kernels import pool_triton as pool
    from harken.kernels import topk_triton as topk

    found: list[tuple[str, Any]] = []
    # Short clips are mirrored more than once: the one code for these front ends is right for all clips.
    found += [("logmel rows", logmel.rows_case(s, s.right_edge == "reflect")) for s in logmel.SPECS.values()]
    raised = {s.num_mels: s for s in logmel.SPECS.values() if s.max_range is not None}
    found += [("logmel raise", logmel.raise_case(s)) for s in raised.values()]
    span = pool.MODES["span"]
    found += [(f"pool rows {d}", pool.rows_case(d, span, w)) for d in ("fp32", "fp16", "bf16") for w in POOL_WIDTHS]
    found += [("pool finish", pool.finish_case(span))]
    found += [("pool tail", pool.tail_case(w, w, has_head=False, normalize_input=False)) for w in POOL_WIDTHS]
    # Unit length comes by the kernel without a head.
    found += [("pool tail", pool.tail_case(w, w, normalize_input=False, normalize=False)) for w in HEAD_WIDTHS]
    for stored in (torch.float32, torch.float16, torch.bfloat16, torch.int8):
        name = topk.TRITON_NAMES[stored]
        found += [(f"topk score {name}", topk.score_case(stored, n, has_exclude=False)) for n in QUERIES]
        found += [(f"topk rescore {name}", topk.rescore_case(stored, has_exclude=False))]
    return found


def constants(case: Any) -> dict[str, int]:
    """What a kernel was compiled for, and the numbers of its module that its caller must know."""
    module = sys.modules[case.kernel.fn.__module__]
    beside = {n: getattr(module, n) for n in ("SPARE_GROUPS", "MAX_KEYS_BYTES") if hasattr(module, n)}
    return {k: int(v) for k, v in (case.constexprs | beside).items()}


def run_time_arguments(case: Any) -> dict[str, str]:
    """Types of what is left of a kernel's arguments, in order."""
    return {a: case.signature[a] for a in case.kernel.arg_names if a not in case.constexprs}


def letters(case: Any) -> str:
    """A letter an argument, a capital one of those that are taken for multiples of 16."""
    found = {a: "p" if t.startswith("*") else LETTERS[t] for a, t in run_time_arguments(case).items()}
    return "".join(letter.upper() if a in case.divisible else letter for a, letter in found.items())


def compile_one(index: int, arch: int, fatbinary: str | None) -> Code:
    """Compile one of `cases` for sm_`arch`.

    Raises:
        RuntimeError: the compiled code wants what the library does not give.
    """
    harken()
    from harken.kernels.aot import build

    name, case = cases()[index]
    compiled = build(case, arch)
    metadata, ptx, cubin = compiled.metadata, compiled.asm["ptx"], compiled.asm["cubin"]
    target = re.search(r"^\.target sm_(\d+)([a-z]?)", ptx, re.MULTILINE)
    entry = re.search(r"\.entry\s+(\w+)\s*\((.*?)\)(.*?)\{", ptx, re.DOTALL)
    if target is None or entry is None:
        raise RuntimeError(f"{name} for sm_{arch}: no target or no entry in the PTX")
    given = re.findall(r"\.param\s+\.(\w+)", entry[2])
    wanted = letters(case).lower()
    extra = given[len(wanted) :]
    if (
        any(g not in PTX_TYPES[w] for g, w in zip(given, wanted))
        or len(given) < len(wanted)
        or set(extra) - set(PTX_TYPES["p"])
    ):
        raise RuntimeError(f"{name} for sm_{arch}: the code takes {given}, the kernel {wanted!r}")
    scratch = {f: getattr(metadata, f, 0) for f in ("global_scratch_size", "profile_scratch_size")}
    refused = {f: n for f, n in scratch.items() if n} | {
        f: getattr(metadata, f) for f in ("launch_cooperative_grid", "launch_pdl") if getattr(metadata, f, False)
    }
    if refused or getattr(metadata, "num_ctas", 1) != 1:
        raise RuntimeError(f"{name} for sm_{arch}: wants {refused or 'a cluster'}, which the library does not give")
    threads = re.search(r"\.(?:req|max)ntid\s+(\d+)", entry[3])
    if threads is None:
        raise RuntimeError(f"{name} for sm_{arch}: the PTX does not tell the threads of a block")
    exact = target[2] == "a"
    image = cubin if fatbinary is None else compressed(cubin, f"{target[1]}{target[2]}", fatbinary)
    return Code(arch, exact, entry[1], int(threads[1]), metadata.shared, len(extra), image)


def compressed(cubin: bytes, sm: str, fatbinary: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        code, packed = Path(folder) / "code.cubin", Path(folder) / "code.fatbin"
        code.write_bytes(cubin)
        said = subprocess.run([fatbinary, "--version"], check=True, capture_output=True, text=True).stdout
        release = re.search(r"release (\d+)", said)
        # Drivers that run CUDA 13 unpack it; older programs' default is read by older drivers.
        small = ["--compress-mode=size"] if release is not None and int(release[1]) >= 13 else []
        options = ["--64", "--compress-all", *small, f"--create={packed}", f"--image3=kind=elf,sm={sm},file={code}"]
        subprocess.run([fatbinary, *options], check=True, capture_output=True, text=True)
        return packed.read_bytes()


def table(kernels: list[tuple[str, Any, list[Code]]], version: str) -> str:
    """The C++ of src/cuda/cubins.cpp's table."""
    blob, images, numbers, rows = bytearray(), [], [], []
    num_codes = num_numbers = 0
    for name, case, codes in kernels:
        for code in codes:
            blob += b"\0" * (-len(blob) % 16)
            fields = (code.arch, str(code.exact).lower(), f"kImages + {len(blob)}", len(code.image))
            images.append(
                f"    {{{', '.join(map(str, (*fields, code.num_threads, code.shared_bytes, code.num_scratch)))}}},"
            )
            blob += code.image
        known = constants(case)
        numbers += [f'    {{"{k}", {v}}},' for k, v in known.items()]
        rows.append(
            f'    {{"{name}", "{codes[0].entry}", "{letters(case)}", {{kConstants + {num_numbers}, {len(known)}}}, '
            f"{{kCubins + {num_codes}, {len(codes)}}}}},"
        )
        num_codes, num_numbers = num_codes + len(codes), num_numbers + len(known)
    lines = ["".join(f"\\{byte:03o}" for byte in blob[i : i + 32]) for i in range(0, len(blob), 32)]
    return "\n".join(
        [
            f"// Made by tools/embed_kernels.py with triton {version}.",
            "alignas(16) constexpr char kImages[] =",
            *(f'    "{line}"' for line in lines),
            "    ;",
            "constexpr Cubin kCubins[] = {",
            *images,
            "};",
            "constexpr Constant kConstants[] = {",
            *numbers,
            "};",
            "constexpr CubinKernel kKernels[] = {",
            *rows,
            "};",
            "",
        ]
    )


def manifest(kernels: list[tuple[str, Any, list[Code]]]) -> list[dict[str, Any]]:
    """The same for programs that read: every image by its hash, with the Python kernel that it is made of."""
    return [
        asdict(code)
        | {
            "name": name,
            "module": case.kernel.fn.__module__,
            "constexprs": {k: int(v) for k, v in case.constexprs.items()},
            "arguments": run_time_arguments(case),
            "divisible": list(case.divisible),
            "num_bytes": len(code.image),
            "image": hashlib.sha256(code.image).hexdigest(),
        }
        for name, case, codes in kernels
        for code in codes
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the table to write")
    parser.add_argument(
        "--arch", type=int, action="append", help="compute capability, may be repeated; default 80, 90, 100"
    )
    parser.add_argument("--only", default="", help="kernels whose name holds this; empty: all")
    parser.add_argument("--fatbinary", default=shutil.which("fatbinary"), help="the program of that name; empty: none")
    parser.add_argument("--manifest", type=Path, help="a JSON file that tells what is in the table")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
    os.environ.pop("TRITON_INTERPRET", None)
    # Products and sums in one step, as Triton did before it asked.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    import triton

    chosen = [(i, name, case) for i, (name, case) in enumerate(cases()) if args.only in name]
    archs = args.arch or ARCHS
    work = partial(compile_one, fatbinary=args.fatbinary or None)
    jobs = [(i, arch) for i, _, case in chosen for arch in archs if arch in case.archs]
    # Fresh processes: Triton's compiler holds the interpreter lock while it works.
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        codes = dict(zip(jobs, pool.map(work, *zip(*jobs)))) if jobs else {}
    kernels = [(name, case, [c for (i, _), c in codes.items() if i == index]) for index, name, case in chosen]
    for name, _, compiled in kernels:
        if len({code.entry for code in compiled}) != 1:
            raise RuntimeError(f"{name}: the architectures' entries differ")
    args.out.write_text(table(kernels, triton.__version__))
    if args.manifest:
        args.manifest.write_text(json.dumps(manifest(kernels), indent=1))
    num_bytes = sum(len(code.image) for code in codes.values())
    print(f"{len(kernels)} kernels for sm_{', sm_'.join(map(str, archs))}: {num_bytes} bytes")


if __name__ == "__main__":
    main()
