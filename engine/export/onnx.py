"""ONNX graphs with dynamic lengths and their weights beside them, for ONNX Runtime and TensorRT.

    <graph>.onnx, <graph>.onnx.data     graphs.py
    run_graphs.py                       --selftest in ONNX Runtime
    build_tensorrt.sh                   trtexec for each graph
    golden.safetensors                  the graphs' inputs for the golden inputs, and their vectors

Mel frames and prompts are made outside: by harken, by libharken, or by transformers' feature extractors.

Source: own; spec/trtllm.md 4 (c).
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from ..load import find_source, load
from ..recipes import Recipe
from .folder import total_bytes, write_folder
from .golden import make_golden
from .graph import Graph
from .graphs import golden_feeds, graphs_of, need_packages, readme
from .hf import pick_stored_dtype
from .manifest import write_manifest
from .merged import MergedCheckpoint
from .streamed import streamed_embedder
from .trtllm import copy_programs

OPSET = 20


def export_onnx(
    model: str | Path | None,
    adapter: str | Path | None,
    recipe: str | Path | Recipe | None,
    out: Path,
    *,
    dtype: str | None = None,
) -> Path:
    """Write the graphs.

    Args:
        model, adapter, recipe: as `harken.load` takes them.
        out: the folder to make.
        dtype: of weights and arithmetic: "float32", "float16" or "bfloat16"; None: float32. Inputs and outputs are float32.

    Raises:
        InputError: another dtype.
        ModelError: a model that cannot be used as it is, or packages that are missing.
        OutputError: `out` exists or cannot be written.
    """
    need_packages(("onnx", "onnxscript"), "export to ONNX")
    pick_stored_dtype(dtype)
    source = find_source(model, recipe=recipe, adapter=adapter)
    merged = MergedCheckpoint(source.folder, source.adapter)

    def build(folder: Path) -> None:
        embedder = load(
            source.folder, recipe=source.recipe, adapter=source.adapter, device="cpu", dtype=dtype or "float32"
        )
        exact = embedder if dtype in (None, "float32") else streamed_embedder(source)
        golden = make_golden(exact)
        graphs = graphs_of(embedder)
        for graph in graphs:
            write_onnx(graph, folder / f"{graph.name}.onnx")
        copy_programs(folder, ("run_graphs.py",))
        (folder / "README.md").write_text(readme(embedder))
        (folder / "build_tensorrt.sh").write_text(_build_script(graphs))
        (folder / "build_tensorrt.sh").chmod(0o755)
        facts = {
            "dtype": dtype or "float32",
            "opset": OPSET,
            "graphs": {graph.name: {"file": f"{graph.name}.onnx", **graph.facts()} for graph in graphs},
            "golden": golden.save(folder, dtype or "float32", golden_feeds(exact, golden)),
        }
        write_manifest(folder, "onnx", embedder, facts)

    return write_folder(out, build, num_bytes=total_bytes(merged.files))


def write_onnx(graph: Graph, path: Path) -> None:
    """One graph, with its weights in `<path>.data`."""
    # With gradients allowed, linear layers are torch's own and not an operator of one CPU library (models/layers.py).
    with warnings.catch_warnings(), _quiet(), torch.enable_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.dynamic_shapes(),
            external_data=True,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's chatter about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _build_script(graphs: list[Graph]) -> str:
    lines = [
        "#!/bin/sh",
        "# Builds a TensorRT engine of every graph, for this machine's GPU. Wants trtexec of TensorRT 10 or newer.",
        "# Narrow the largest shapes to what will come: they decide how much memory an engine asks for.",
        "set -eu",
        'cd "$(dirname "$0")"',
    ]
    for graph in graphs:
        shapes = [
            ",".join(f"{key}:{'x'.join(map(str, shape))}" for key, shape in graph.shapes(which).items())
            for which in range(3)
        ]
        lines.append(
            f"trtexec --onnx={graph.name}.onnx --saveEngine={graph.name}.plan --stronglyTyped --skipInference \\\n"
            f"  --minShapes={shapes[0]} \\\n  --optShapes={shapes[1]} \\\n  --maxShapes={shapes[2]}"
        )
    return "\n".join(lines) + "\n"
