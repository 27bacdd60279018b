"""Is an exported folder whole, and does it give the vectors that it should?

Every file is hashed again. Then the golden inputs are run by what this machine has: the merged checkpoint by harken, ONNX
graphs by ONNX Runtime, compiled packages by torch. Exports for other programs are only hashed; they bring their own
self-test. Source: own.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ..load import load
from .graphs import need_packages
from .manifest import read_manifest
from .standalone.run_graphs import Graphs, golden_vectors

# Targets whose vectors are computed elsewhere -> how.
ELSEWHERE = {
    "trtllm": "python run_pytorch_backend.py --selftest",
    "trtllm-engine": "./build_engine.sh && python run_engine.py --selftest",
    "bundle": "libharken",
}


def check_export(folder: str | Path) -> list[dict[str, Any]]:
    """Check a folder.

    Returns: for each golden input its name, the cosine to its golden vector, and whether that is near enough; empty for
        the targets in ELSEWHERE.

    Raises:
        FileFormatError: files missing or changed.
        ModelError: packages that are missing.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest["target"] in ELSEWHERE:
        return []
    golden = manifest["golden"]
    tensors = load_file(folder / golden["file"])
    found = _by_harken(folder, golden, tensors) if manifest["target"] == "hf" else _by_graphs(folder, manifest)
    rows = []
    for name, got in found.items():
        want = tensors[f"{name}.vector"].numpy()
        cosine = float(got @ want / (np.linalg.norm(got) * np.linalg.norm(want)))
        rows.append({"input": name, "cosine": cosine, "ok": cosine >= golden["min_cosine"]})
    return rows


def _by_harken(folder: Path, golden: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    model = load(folder, device="cpu", dtype="float32")
    found = {}
    for item in golden["items"]:
        if "text" in item:
            found[item["name"]] = model.encode_text([item["text"]])[0]
        else:
            samples = tensors[f"{item['name']}.samples"].numpy()
            found[item["name"]] = model.encode_audio([(samples, model.sample_rate_hz)])[0]
    return found


def _by_graphs(folder: Path, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    if manifest["target"] == "onnx":
        need_packages(("onnxruntime",), "a check of ONNX graphs")
    return golden_vectors(Graphs(folder))
