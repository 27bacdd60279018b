"""Runtimes that run the ONNX export, with as many threads as they are given.

Source: own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.export.standalone.run_graphs import Graphs

Call = Callable[[list[np.ndarray]], list[np.ndarray]]


class OnnxRuntimeGraphs(Graphs):
    """The graphs of a folder in ONNX Runtime on the CPU."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder)
        self.threads = threads

    def _load(self, name: str) -> Call:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        path = str(self.folder / self.described[name]["file"])
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs = list(self.described[name]["inputs"])
        return lambda arrays: session.run(None, dict(zip(inputs, arrays)))


class OpenVinoGraphs(Graphs):
    """The same in OpenVINO, in float32 also where the CPU has narrower products."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder)
        self.threads = threads

    def _load(self, name: str) -> Call:
        import openvino

        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = openvino.Core().compile_model(str(self.folder / self.described[name]["file"]), "CPU", settings)
        return lambda arrays: [np.array(model_output) for model_output in model(arrays).values()]


RUNTIMES: dict[str, Callable[[Path, int], Graphs]] = {"onnxruntime": OnnxRuntimeGraphs, "openvino": OpenVinoGraphs}


def onnxruntime_library() -> Path | None:
    """libonnxruntime.so of the installed package; None where there is none."""
    from importlib.util import find_spec

    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "capi").glob("libonnxruntime.so*"), None)
