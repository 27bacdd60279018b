"""Repair of Triton's interpreter, so that kernels in bfloat16 and loops with run-time bounds can be tested on a CPU.

What is wrong, as probed and not by version number (triton 3.6 to 3.9 at least):
    bfloat16 is held as uint16, and arithmetic, comparison and tl.dot work on those bits   -> compute in float32, round once
    casts to bfloat16 cut the low bits off                                                 -> round to nearest even, as GPUs do
    `for i in range(0, n, BLOCK)` with a run-time n fails where numpy is 2.4 or newer      -> take the only element
Reductions and scans are left alone: kernels upcast to float32 before them, as they do on a GPU.
Source: own.
"""

import os

import numpy as np

ARITHMETIC = """
    fadd fsub fmul fdiv frem fma fneg fabs clampf maximumf minimumf maxnumf minnumf precise_divf approx_divf
    exp exp2 log log2 sqrt precise_sqrt rsqrt sin cos erf floor ceil
    fcmpOLT fcmpOGT fcmpOLE fcmpOGE fcmpOEQ fcmpONE fcmpULT fcmpUGT fcmpULE fcmpUGE fcmpUEQ fcmpUNE
""".split()


def widen(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16) to float32, exactly."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def narrow(values: np.ndarray) -> np.ndarray:
    """float32 to bfloat16 bits (uint16), to nearest even; NaN stays NaN."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16).reshape(values.shape)


def repair() -> None:
    """Mend the interpreter of this process; does nothing where Triton compiles, or where nothing is wrong."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import triton.language as tl
    import triton.runtime.interpreter as interpreter

    _mend_loops(interpreter)
    one = interpreter.TensorHandle(narrow(np.ones(1)), tl.bfloat16)
    if widen(interpreter.InterpreterBuilder().create_fadd(one, one).data)[0] != 2.0:
        _mend_bfloat16(interpreter, tl)


def _mend_loops(interpreter) -> None:
    patch = interpreter._patch_lang_tensor

    def patch_with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(np.asarray(self.handle.data).item()))

    interpreter._patch_lang_tensor = patch_with_index


def _mend_bfloat16(interpreter, tl) -> None:
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle

    def is_bfloat16(x) -> bool:
        return isinstance(x, handle) and x.dtype.scalar == tl.bfloat16

    def up(x):
        return handle(widen(x.data), tl.float32) if is_bfloat16(x) else x

    def in_float32(plain):
        def call(self, *args):
            if not any(map(is_bfloat16, args)):
                return plain(self, *args)
            out = plain(self, *map(up, args))
            return handle(narrow(out.data), tl.bfloat16) if out.data.dtype == np.float32 else out

        return call

    def cast(plain):
        def call(self, src, dst_type, *mode):
            if dst_type.scalar == tl.bfloat16:
                own = is_bfloat16(src) or src.dtype.scalar.is_fp8()
                return plain(self, src, dst_type, *mode) if own else handle(narrow(src.data), tl.bfloat16)
            if is_bfloat16(src) and dst_type.scalar == tl.float32:
                return up(src)
            return plain(self, up(src), dst_type, *mode)

        return call

    dot = builder.create_dot
    builder.create_dot = lambda self, a, b, *rest: dot(self, up(a), up(b), *rest)
    for name in ("cast_impl", "create_fp_to_fp"):
        setattr(builder, name, cast(getattr(builder, name)))
    for name in (f"create_{op}" for op in ARITHMETIC):
        if hasattr(builder, name):
            setattr(builder, name, in_float32(getattr(builder, name)))
