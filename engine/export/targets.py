"""The kinds of folders a model can be exported to; each is made by one function of one module, imported when asked for.

    export_<target>(model, adapter, recipe, out, **options) -> Path of the folder

`model`, `adapter` and `recipe` mean what they mean to `harken.load`. Source: own.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..recipes import Recipe


@dataclass(frozen=True, slots=True)
class Target:
    """Where a target is made."""

    # Module of this folder, and its function.
    module: str
    function: str
    # Options it takes besides model, adapter, recipe and out.
    options: tuple[str, ...]
    summary: str


TARGETS = {
    "hf": Target("hf", "export_hf", ("dtype",), "merged checkpoint for transformers and harken"),
    "trtllm": Target(
        "trtllm_pytorch", "export_trtllm", ("dtype", "quant", "calibration"), "TensorRT-LLM's PyTorch backend"
    ),
    "trtllm-engine": Target(
        "trtllm_engine",
        "export_trtllm_engine",
        ("dtype", "quant", "calibration", "tp"),
        "TensorRT-LLM up to 1.2.1, for trtllm-build",
    ),
    "onnx": Target("onnx", "export_onnx", ("dtype",), "ONNX graphs for ONNX Runtime and TensorRT"),
    "aoti": Target("aoti", "export_aoti", ("dtype", "device"), "compiled .pt2 packages of AOTInductor"),
    "bundle": Target("bundle", "export_bundle", ("dtype",), "what libharken loads"),
}


def export(
    model: str | Path | None,
    out: str | Path,
    *,
    to: str,
    adapter: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    **options: Any,
) -> Path:
    """Export a model.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make; it must not exist.
        to: a name in TARGETS.
        options: those of the target; None stands for its default.

    Returns: `out`.

    Raises:
        InputError: an unknown target, or an option that it does not take.
        ModelError: a model that cannot be exported so.
        OutputError: `out` exists or cannot be written.
    """
    if to not in TARGETS:
        raise InputError(f"export: no target {to!r}; there are {', '.join(TARGETS)}")
    target = TARGETS[to]
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(set(given) - set(target.options)):
        takes = f"takes {', '.join(target.options)}" if target.options else "takes none"
        raise InputError(f"export: the target {to!r} has no option {', '.join(unknown)}; it {takes}")
    made = getattr(import_module(f".{target.module}", __package__), target.function)
    return made(model, adapter, recipe, Path(out), **given)
