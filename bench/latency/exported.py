"""harken's exported graphs as a system: ONNX Runtime or AOTInductor over batches padded to their longest.

Features and prompts are made by harken, as the exports want them made outside.

Source: own.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...engine.embedder import Embedder
from ...engine.export.graph_inputs import Inputs, prefill_inputs, tower_inputs
from ...engine.export.graphs import need_packages
from ...engine.export.manifest import read_manifest
from ...engine.export.standalone.run_graphs import Graphs
from ...engine.models.mllm import AudioLM
from ...engine.text.template import Prompt
from ...errors import FileFormatError, InputError, ModelError

TARGETS = {"onnxruntime": "onnx", "openvino": "onnx", "aoti": "aoti"}


class ExportedGraphs:
    """The graphs of a folder.

    Args:
        folder: of `harken export`, of the model that `embedder` is.
        embedder: makes features and prompts; its device is the graphs'.
        name: "onnxruntime", "openvino" or "aoti".
        graphs: what runs them; None: the folder's own program, which knows no OpenVINO.

    Raises:
        InputError: another kind of folder or model, or a package that is missing.
    """

    def __init__(self, folder: Path, embedder: Embedder, name: str, graphs: Graphs | None = None) -> None:
        if not isinstance(embedder.model, AudioLM):
            raise InputError("written for models with a decoder")
        try:
            manifest = read_manifest(folder, check=False)
            if TARGETS[name] == "onnx":
                need_packages((name,), "this system")
        except (FileFormatError, ModelError) as error:
            raise InputError(str(error)) from None
        if manifest["target"] != TARGETS[name]:
            raise InputError(f"{folder} was exported --to {manifest['target']}, wanted --to {TARGETS[name]}")
        self._embedder, self._graphs = embedder, graphs or Graphs(folder, embedder.model.device.type)
        self._contents = embedder.recipe.pooling == "mean-content"

    def encode_audio(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """[n, d] vectors of clips in one batch."""
        heard, _ = tower_inputs(self._embedder.model, clips)
        rows = torch.from_numpy(self._graphs.run("audio_tower", _arrays(heard))["audio_rows"])
        return self._embed([self._embedder.audio_prompt(len(clip)) for clip in clips], rows, "audio_vectors")

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] vectors of sentences in one batch."""
        return self._embed([self._embedder.text_prompt(text) for text in texts], None, "text_vectors")

    def _embed(self, prompts: Sequence[Prompt], rows: torch.Tensor | None, name: str) -> np.ndarray:
        batch = prefill_inputs(prompts, rows, self._embedder.model.width, contents=self._contents)
        outputs = self._graphs.run("embedder", _arrays(batch))
        return outputs[name] if name in outputs else outputs["vectors"]


def _arrays(inputs: Inputs) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
