"""Run the graphs of this folder, without harken.

    python run_graphs.py --selftest                 ONNX Runtime for .onnx, torch for .pt2
    python run_graphs.py --selftest --device cuda

    graphs = Graphs(folder);  graphs.run("audio_tower", {"mel": ..., ...})     numpy arrays in, numpy arrays out, by name

manifest.json says what each graph takes and gives; lengths that have a name there may be anything.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

FOLDER = Path(__file__).resolve().parent


class Graphs:
    """All graphs of an export; each is loaded when it is first run.

    Args:
        folder: the export.
        device: "cpu" or "cuda".
    """

    def __init__(self, folder: Path = FOLDER, device: str = "cpu") -> None:
        self.folder, self.device = Path(folder), device
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.described = self.manifest["graphs"]
        self._loaded: dict = {}

    def run(self, name: str, feeds: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """The outputs of one graph by name."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        ordered = [np.ascontiguousarray(feeds[key]) for key in self.described[name]["inputs"]]
        return dict(zip(self.described[name]["outputs"], self._loaded[name](ordered)))

    def _load(self, name: str):
        described = self.described[name]
        if "file" in described:
            return _onnx(self.folder / described["file"], list(described["inputs"]), self.device)
        wanted = f"{name}.{self.device}.pt2"
        if wanted not in described["files"]:
            sys.exit(f"run_graphs: {name} was not compiled for {self.device}; there are {described['files']}")
        return _aoti(self.folder / wanted, self.device)


def _onnx(path: Path, inputs: "list[str]", device: str):
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    session = onnxruntime.InferenceSession(str(path), providers=[provider])
    return lambda arrays: session.run(None, dict(zip(inputs, arrays)))


def _aoti(path: Path, device: str):
    import torch

    package = torch._inductor.aoti_load_package(str(path))

    def call(arrays: "list[np.ndarray]") -> "list[np.ndarray]":
        with torch.no_grad():
            out = package(*(torch.from_numpy(array).to(device) for array in arrays))
        return [tensor.cpu().numpy() for tensor in (out if isinstance(out, (tuple, list)) else [out])]

    return call


def golden_vectors(graphs: Graphs) -> "dict[str, np.ndarray]":
    """The vector of every golden input, by way of the graphs that its stored inputs belong to."""
    tensors = load_file(graphs.folder / graphs.manifest["golden"]["file"])
    found = {}
    for item in graphs.manifest["golden"]["items"]:
        outputs: dict[str, np.ndarray] = {}
        for name in graphs.described:
            prefix = f"{item['name']}.{name}."
            own = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            if own:
                outputs = graphs.run(name, {**outputs, **own})
        named = outputs.get(f"{item['kind']}_vectors")
        found[item["name"]] = (outputs["vectors"] if named is None else named)[0]
    return found


def selftest(graphs: Graphs) -> bool:
    """Print each golden input's cosine to its vector; True if all come near enough."""
    tensors = load_file(graphs.folder / graphs.manifest["golden"]["file"])
    least, good = graphs.manifest["golden"]["min_cosine"], True
    for name, got in golden_vectors(graphs).items():
        want = tensors[f"{name}.vector"]
        cosine = float(got @ want / (np.linalg.norm(got) * np.linalg.norm(want)))
        fine = cosine >= least
        good = good and fine
        print(f"{name:10s} cosine {cosine:.6f} {'ok' if fine else f'TOO FAR, wanted {least}'}")
    print("self-test passed" if good else "SELF-TEST FAILED")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selftest", action="store_true", required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    sys.exit(0 if selftest(Graphs(FOLDER, parser.parse_args().device)) else 1)


if __name__ == "__main__":
    main()
