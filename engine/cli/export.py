"""`harken export` and `harken export-check`: a model as a folder that other programs run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .app import AdapterOption, JsonOption, RecipeOption, app
from .output import SOME_FAILED, emit, errors_as_lines, say

# Stands for the model that comes with harken.
BUILT_IN = "harken-mini"


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help=f"Checkpoint folder or hub repository, or {BUILT_IN}: the built-in model")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make")],
    to: Annotated[str, typer.Option("--to", help="hf, trtllm, trtllm-engine, onnx, aoti or bundle")],
    adapter: AdapterOption = None,
    recipe: RecipeOption = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help="Of the weights: float32, bfloat16, float16, for a bundle also int8; default: as stored, else float32",
        ),
    ] = None,
    quant: Annotated[
        str | None, typer.Option("--quant", help="TensorRT-LLM: none, fp8; trtllm-engine also w8a16")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="For fp8, a folder of sounds like those to come")
    ] = None,
    tp: Annotated[int | None, typer.Option("--tp", help="trtllm-engine: ranks of tensor parallelism")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="aoti: cpu or cuda; default: the CPU, and CUDA where there is one")
    ] = None,
) -> None:
    """Merge a model with its adapter and write it as a folder for other programs; prints the folder.

    hf: checkpoint for transformers and harken. trtllm: TensorRT-LLM's PyTorch backend. trtllm-engine: TensorRT-LLM up to
    1.2.1. onnx: ONNX Runtime and TensorRT. aoti: compiled for torch. bundle: libharken.
    """
    with errors_as_lines():
        from ..export.targets import export as run

        chosen = None if model == BUILT_IN and not Path(model).exists() else model
        # On a terminal alone: elsewhere a Console prints nothing that moves.
        with Console(stderr=True).status(f"exporting to {to}"):
            folder = run(
                chosen, out, to=to, adapter=adapter, recipe=recipe, dtype=dtype, quant=quant,
                calibration=calibration, tp=tp, device=device,
            )  # fmt: skip
        print(folder)


@app.command()
def export_check(
    folder: Annotated[Path, typer.Argument(help="What `harken export` made")], as_json: JsonOption = False
) -> None:
    """Hash an exported folder's files again, and run its golden inputs where this machine can."""
    with errors_as_lines():
        from ..export.check import ELSEWHERE, check_export
        from ..export.manifest import read_manifest

        rows = check_export(folder)
        if rows:
            emit(rows, as_json)
        else:
            target = read_manifest(folder, check=False)["target"]
            say(f"{folder}: every file is as it was; its vectors are checked by {ELSEWHERE[target]}")
        if not all(row["ok"] for row in rows):
            raise typer.Exit(SOME_FAILED)
