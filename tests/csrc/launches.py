"""A program that calls libharken's CUDA part over a driver without a GPU; what it launches, Triton's interpreter runs.

    TRITON_INTERPRET=1 python -P launches.py BUILT ANSWERS.pickle [CAPABILITY]

BUILT is where csrc/ was built with its tests and HARKEN_CUBINS=ON. Every launch is checked against what was compiled: which
image, threads, shared memory, types of arguments, alignment; then the very Triton kernel works on the memory that the C++
code pointed it to. `CASES` are what is asked; the answers go to the file, the tests compare them.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CTYPES = {"i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp32": ctypes.c_float}
# As DType of csrc/src/tensor_view.h counts.
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
DTYPES_IN_TRITON = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
LAUNCH_FAILED = 719


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def clips(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Samples and where the clips start, each with a loud end."""
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    samples = 0.1 * draw(int(starts[-1]))
    for end in starts[1:]:
        samples[max(0, end - 60) : end] *= 8
    return samples, starts


# Name of a front end, lengths, extra frames, cap (0: none).
LOGMELS: dict[str, tuple[str, list[int], int, int]] = {
    "whisper-128": ("whisper-128", [321, 1, 5300], 0, 0),
    "whisper-80, extra frames and a cap": ("whisper-80", [900, 2400], 2, 1600),
    "dasheng-64": ("dasheng-64", [321, 1, 1700], 0, 0),
    "htsat-64": ("htsat-64", [700, 1], 0, 0),
}

GAPS = [(0, 1), (3, 40), (40, 41), (50, 147)]
WHOLE = [(0, 7), (7, 71), (71, 72)]
# Dtype, width, ranges of rows, width of the head (0: none), whether it has a layer norm and takes unit vectors, unit length.
POOLS: dict[str, tuple[str, int, list[tuple[int, int]], int, bool, bool, bool]] = {
    "float32": ("float32", 512, WHOLE, 0, False, False, False),
    "float32, gaps, unit": ("float32", 64, GAPS, 0, False, False, True),
    "float16, wider than a block": ("float16", 528, GAPS, 0, False, False, True),
    "bfloat16": ("bfloat16", 96, GAPS, 0, False, False, False),
    "head": ("float32", 64, GAPS, 48, True, False, True),
    "head of an odd width on unit vectors": ("float32", 64, WHOLE, 23, True, True, False),
    "head without a norm": ("float32", 64, WHOLE, 32, False, True, True),
}

# Dtype of the index, rows, width, queries, k, whether rows are filtered.
SEARCHES: dict[str, tuple[str, int, int, int, int, bool]] = {
    "float32": ("float32", 3000, 64, 3, 10, False),
    "float32, filtered": ("float32", 3000, 32, 2, 5, True),
    "float32, many queries": ("float32", 300, 32, 20, 3, False),
    "float16": ("float16", 2500, 64, 3, 10, True),
    "int8": ("int8", 2500, 64, 5, 10, False),
    "more hits than rows": ("float32", 50, 32, 1, 60, False),
    "a width of no kernel": ("float32", 300, 48, 2, 5, False),
}


def vectors_of(num_rows: int, width: int) -> np.ndarray:
    """Every hundredth is the one before it once more."""
    vectors = draw(num_rows, width)
    vectors[100::100] = vectors[99:-1:100]
    return vectors


def index_of(dtype: str, num_rows: int, width: int) -> Any:
    from harken.engine.index import Index

    return Index.build(vectors_of(num_rows, width), [str(i) for i in range(num_rows)], dtype=dtype)


def filter_of(num_rows: int) -> np.ndarray:
    """Bits of the rows that are searched, as 64-bit words."""
    bits = np.zeros(-(-num_rows // 64) * 64, bool)
    bits[:num_rows] = np.arange(num_rows) % 3 != 1
    return np.packbits(bits, bitorder="little").view(np.uint64)


class Head(ctypes.Structure):
    _fields_ = [
        ("dim", ctypes.c_size_t),
        ("weight", ctypes.c_void_p),
        ("norm_weight", ctypes.c_void_p),
        ("norm_bias", ctypes.c_void_p),
        ("normalize_input", ctypes.c_bool),
    ]


class Device:
    """The fake driver and the library over it; keeps a log of launches."""

    def __init__(self, built: Path, capability: int) -> None:
        # Under its own name, so that whoever asks for libcuda.so.1 from now on gets this one.
        self.driver = ctypes.CDLL(str(built / "tests" / "driver" / "libcuda.so.1"))
        self.library = ctypes.CDLL(str(built / "tests" / "libharken_on_fake_driver.so"))
        self.library.test_error.restype = self.library.harken_last_error.restype = ctypes.c_char_p
        listed = json.loads((built / "cubins" / "cubins.json").read_text())
        self.images = {entry["image"]: entry for entry in listed}
        self.log: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.refuse = False
        call = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_uint] * 4, ctypes.POINTER(ctypes.c_void_p)
        )
        self.callback = call(self._launch)
        self.driver.fake_driver(capability, 1, self.callback)

    def _launch(self, image, entry, grid_x, grid_y, block, shared, parameters) -> int:
        if self.refuse:
            return LAUNCH_FAILED
        try:
            self._run(image, entry.decode(), (grid_x, grid_y), block, shared, parameters)
        except Exception:
            self.faults.append(traceback.format_exc())
            return LAUNCH_FAILED
        return 0

    def _run(self, image, entry, grid, block, shared, parameters) -> None:
        known = self.images[hashlib.sha256(ctypes.string_at(image, image_bytes(image))).hexdigest()]
        assert (known["entry"], known["num_threads"], known["shared_bytes"]) == (entry, block, shared), known
        arguments = {}
        for i, (name, kind) in enumerate(known["arguments"].items()):
            number = CTYPES.get(kind, ctypes.c_uint64).from_address(parameters[i]).value
            assert name not in known["divisible"] or number % 16 == 0, (entry, name, number)
            arguments[name] = at(number, kind[1:]) if kind.startswith("*") else number
        for i in range(known["num_scratch"]):
            assert ctypes.c_uint64.from_address(parameters[len(arguments) + i]).value == 0
        self.log.append({"name": known["name"], "grid": grid, "constexprs": known["constexprs"]})
        module = sys.modules.get(known["module"]) or importlib.import_module(known["module"])
        getattr(module, entry)[grid](**arguments, **known["constexprs"])

    def check(self, status: int) -> None:
        if self.faults:
            raise AssertionError(self.faults.pop())
        if status:
            raise RuntimeError(f"{status}: {self.library.test_error().decode()}")

    def logmel(self, name: str, lengths: list[int], extra_frames: int, cap: int) -> dict[str, np.ndarray]:
        samples, starts = clips(lengths)
        out = np.full((sum(lengths) // 100 + 8 * len(lengths), 128), np.nan, np.float32)
        rows = np.zeros(len(starts), np.uint64)
        self.check(
            self.library.test_logmel(
                name.encode(), address(samples), address(starts), ctypes.c_size_t(len(lengths)),
                ctypes.c_size_t(extra_frames), ctypes.c_size_t(cap), address(out), address(rows),
            )
        )  # fmt: skip
        return {"rows": rows, "flat": out.ravel()}

    def pool(
        self, dtype: str, width: int, ranges: list[tuple[int, int]], dim: int, norm: bool, unit_input: bool, unit: bool
    ) -> np.ndarray:
        hidden, weight = states(dtype, width)
        chosen = np.array(ranges, np.uint64)
        head, parts = None, head_of(dim, width)
        if dim:
            places = [address(x) for x in parts]
            head = Head(dim, places[0], *(places[1:] if norm else (None, None)), unit_input)
        out = np.full((len(ranges), dim or width), np.nan, np.float32)
        self.check(
            self.library.test_pool(
                address(hidden), DTYPES[dtype], ctypes.c_size_t(len(hidden)), ctypes.c_size_t(width), address(weight),
                ctypes.c_float(1e-6), address(chosen), ctypes.c_size_t(len(ranges)), ctypes.byref(head) if head else None,
                ctypes.c_bool(unit), address(out),
            )
        )  # fmt: skip
        return out

    def search(
        self, dtype: str, num_rows: int, width: int, num_queries: int, k: int, filtered: bool, spoilt: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        handle, queries = ctypes.c_void_p(), draw(num_queries, width, seed=1)
        size = ctypes.c_size_t
        if dtype == "float32":
            rows = vectors_of(num_rows, width)
            if spoilt is not None:
                rows[spoilt, 3] = np.nan
            self.c(
                self.library.harken_index_from_rows(address(rows), size(num_rows), size(width), 1, ctypes.byref(handle))
            )
        else:
            folder = Path(tempfile.mkdtemp(dir=os.environ["ANSWERS_FOLDER"])) / "index.harken"
            index_of(dtype, num_rows, width).save(folder)
            self.c(self.library.harken_index_open(str(folder).encode(), 1, ctypes.byref(handle)))
        self.c(self.library.harken_index_to_cuda(handle, 0))
        scores, ids = np.empty((num_queries, k), np.float32), np.empty((num_queries, k), np.int64)
        keep = filter_of(num_rows) if filtered else None
        try:
            self.c(
                self.library.harken_index_search(
                    handle, address(queries), size(num_queries), size(k), None if keep is None else address(keep),
                    address(scores), address(ids),
                )
            )  # fmt: skip
        finally:
            self.library.harken_index_free(handle)
        return scores, ids

    def c(self, status: int) -> None:
        if self.faults:
            raise AssertionError(self.faults.pop())
        if status:
            raise RuntimeError(f"{status}: {self.library.harken_last_error().decode()}")


def address(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def at(place: int, dtype: str) -> Any:
    """A tensor of 8 bytes at an address, so that two of them may share one: the interpreter goes by the address alone."""
    import torch

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "i8": torch.int8, "u8": torch.uint8}
    kind = (types | {"i32": torch.int32, "i64": torch.int64})[dtype]
    return torch.frombuffer((ctypes.c_char * 8).from_address(place), dtype=kind)


def image_bytes(image: int) -> int:
    """Length of an ELF file or a fat binary."""
    if ctypes.string_at(image, 4) == b"\x7fELF":
        sections = ctypes.c_uint64.from_address(image + 40).value
        size, count = (ctypes.c_uint16.from_address(image + place).value for place in (58, 60))
        return sections + size * count
    return ctypes.c_uint16.from_address(image + 6).value + ctypes.c_uint64.from_address(image + 8).value


def states(dtype: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states, of bfloat16 the bits; the norm's weight, exact in every dtype."""
    hidden = draw(150, width) * np.logspace(-1, 1, 150, dtype=np.float32)[:, None]
    weight = np.float32(0.5) + np.arange(width, dtype=np.float32) % 8 / 8
    if dtype == "bfloat16":
        bits = hidden.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), weight
    return hidden.astype(dtype), weight


def head_of(dim: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return draw(dim, width) / np.float32(width**0.5), 1 + draw(dim, seed=2) / 4, draw(dim, seed=3)


def answers(device: Device) -> Iterator[tuple[str, Any]]:
    """Every case's answer, or what went wrong."""
    asked = [("logmel", device.logmel, LOGMELS), ("pool", device.pool, POOLS), ("search", device.search, SEARCHES)]
    for what, call, cases in asked:
        for name, case in cases.items():
            device.log.clear()
            yield f"{what} {name}", (attempt(call, *case), list(device.log))
    yield "a row that is not finite", attempt(device.search, "float32", 700, 32, 2, 5, False, 205)
    yield "not finite, and filtered out", attempt(device.search, "float32", 700, 32, 2, 5, True, 205)
    yield "ranges that overlap", attempt(device.pool, "float32", 64, [(0, 5), (4, 9)], 0, False, False, False)
    yield "ranges past the end", attempt(device.pool, "float32", 64, [(0, 151)], 0, False, False, False)
    yield "a width without a kernel", attempt(device.pool, "float32", 40, WHOLE, 0, False, False, False)
    yield "a head that is too wide", attempt(device.pool, "float32", 64, WHOLE, 5000, True, False, False)
    loads = device.driver.fake_driver_loads()
    with ThreadPoolExecutor(3) as threads:
        again = list(threads.map(lambda case: device.pool(*case), [POOLS["head"]] * 4))
    yield "threads", (again, device.driver.fake_driver_loads() - loads)
    for side in (device.driver.fake_driver_stream, device.library.test_stream):
        side(ctypes.c_void_p(4096))
    yield "another stream", [attempt(device.pool, *POOLS["head"]), attempt(device.logmel, *LOGMELS["htsat-64"])]
    device.library.test_stream(None)
    yield "the wrong stream", attempt(device.pool, *POOLS["head"])
    device.driver.fake_driver_stream(None)
    device.refuse = True
    yield "a launch that fails", attempt(device.pool, *POOLS["float32"])


def attempt(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except (AssertionError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    built, out = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ["ANSWERS_FOLDER"] = str(out.parent)
    if len(sys.argv) > 3:
        device = Device(built, int(sys.argv[3]))
        found = {
            "logmel": attempt(device.logmel, *LOGMELS["whisper-128"]),
            "pool": attempt(device.pool, *POOLS["float32"]),
            "search": attempt(device.search, *SEARCHES["float32"]),
            "launches": list(device.log),
        }
    else:
        device = Device(built, 90)
        place = Path(__file__).parents[1] / "kernels" / "interpreter.py"
        spec = importlib.util.spec_from_file_location("interpreter", place)
        assert spec is not None and spec.loader is not None
        mended = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(mended)
        mended.repair()
        found = dict(answers(device))
    out.write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main()
