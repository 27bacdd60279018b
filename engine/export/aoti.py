"""The graphs of onnx.py compiled ahead of time by AOTInductor: one .pt2 a graph and device, run by torch without Python code.

Compiled for this machine's processor and for its GPU, if it has one; a package runs on machines like the one that made it
and on the torch version that made it. Source: own; spec/trtllm.md 4 (g).
"""

import warnings
from pathlib import Path

import torch

from ...errors import InputError
from ..load import find_source, load
from ..placement import pick_device
from ..recipes import Recipe
from .folder import write_folder
from .golden import make_golden
from .graph import Graph
from .graphs import golden_feeds, graphs_of, readme
from .hf import pick_stored_dtype
from .manifest import write_manifest
from .merged import MergedCheckpoint
from .streamed import streamed_embedder
from .trtllm import copy_programs


def export_aoti(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str | None = None,
    device: str | None = None,
) -> Path:
    """Compile the graphs.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make.
        dtype: of weights and arithmetic: "float32", "float16" or "bfloat16"; None: float32. Inputs and outputs are float32.
        device: "cpu" or "cuda"; None: the CPU, and CUDA where there is one.

    Raises:
        InputError: another dtype or device.
        ModelError: a model that cannot be used as it is.
        OutputError: `out` exists or cannot be written.
    """
    pick_stored_dtype(dtype)
    if device is not None:
        pick_device(device)
    devices = [device] if device is not None else ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    source = find_source(model, recipe=recipe, adapter=adapter)
    MergedCheckpoint(source.folder, source.adapter)

    def build(folder: Path) -> None:
        described: dict[str, dict[str, object]] = {}
        for where in devices:
            embedder = load(
                source.folder, recipe=source.recipe, adapter=source.adapter, device=where, dtype=dtype or "float32"
            )
            for graph in graphs_of(embedder):
                file = f"{graph.name}.{torch.device(where).type}.pt2"
                write_package(graph, folder / file)
                described.setdefault(graph.name, {"files": [], **graph.facts()})["files"].append(file)  # type: ignore[attr-defined]
        exact = streamed_embedder(source)
        golden = make_golden(exact)
        copy_programs(folder, ("run_graphs.py",))
        (folder / "README.md").write_text(readme(embedder))
        facts = {
            "dtype": dtype or "float32",
            "graphs": described,
            "golden": golden.save(folder, dtype or "float32", golden_feeds(exact, golden)),
        }
        write_manifest(folder, "aoti", embedder, facts)

    return write_folder(out, build)


def write_package(graph: Graph, path: Path) -> None:
    """One graph, compiled.

    Raises:
        InputError: this machine has no compiler for it.
    """
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    # With gradients allowed, as in onnx.py.
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            graph.module, tuple(graph.inputs.values()), dynamic_shapes=graph.dynamic_shapes(), strict=False
        )
        try:
            torch._inductor.aoti_compile_and_package(exported, package_path=str(path))
        except (CppCompileError, InvalidCxxCompiler) as error:
            raise InputError(f"export: AOTInductor needs a C++ compiler that works: {error}") from None
