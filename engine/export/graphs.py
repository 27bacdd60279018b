"""The graphs that a model is exported as, and what they are fed with for its golden inputs.

    a multimodal LLM   audio_tower: mel -> audio rows;   embedder: token ids and audio rows -> vectors
    two encoders       audio_tower: mel -> vectors;   text_tower: token ids -> vectors;   chunk_pool, where there are chunks

Source: own.
"""

import importlib.util
from collections.abc import Sequence

import torch

from ...errors import ModelError
from ..embedder import Embedder
from ..models.dual import DualEncoder
from ..models.mllm import AudioLM
from ..models.transfer import Samples
from .golden import Golden
from .graph import Graph
from .graph_decoder import prefill_graph
from .graph_dual import dual_graphs
from .graph_inputs import Inputs, prefill_inputs, tower_inputs
from .graph_towers import tower_graph


def graphs_of(embedder: Embedder) -> list[Graph]:
    """The graphs of any Embedder, on the device of its model."""
    if isinstance(embedder.model, AudioLM):
        return [tower_graph(embedder.model), prefill_graph(embedder)]
    return dual_graphs(embedder)


def golden_feeds(embedder: Embedder, golden: Golden) -> dict[str, torch.Tensor]:
    """Inputs of each graph for each golden input, as `<name>.<graph>.<input>`.

    What one graph gives and the next takes under the same name is left out. On the CPU.
    """
    found: dict[str, torch.Tensor] = {}
    for name in golden.vectors:
        for graph, inputs in _feeds(embedder, golden, name).items():
            found |= {f"{name}.{graph}.{key}": tensor.cpu() for key, tensor in inputs.items()}
    return found


def _feeds(embedder: Embedder, golden: Golden, name: str) -> dict[str, Inputs]:
    model = embedder.model
    if isinstance(model, DualEncoder):
        if name in golden.sounds:
            mel = model.tower.features(*Samples.of([golden.sounds[name]], model.device)).features_FM
            return {"audio_tower": {"mel": mel[None]}}
        ids = torch.tensor([golden.prompts[name].token_ids])
        return {"text_tower": {"token_ids": ids, "lengths": torch.tensor([ids.shape[1]])}}
    contents, prompt = embedder.recipe.pooling == "mean-content", golden.prompts[name]
    if name not in golden.sounds:
        return {"embedder": prefill_inputs([prompt], None, model.width, contents=contents)}
    heard, counts = tower_inputs(model, [golden.sounds[name]])
    rows = torch.zeros(counts[0], model.width)
    inputs = prefill_inputs([prompt], rows, model.width, contents=contents)
    del inputs["audio_rows"]
    return {"audio_tower": heard, "embedder": inputs}


def need_packages(packages: Sequence[str], what: str) -> None:
    """Raise a ModelError that names the extra where one of the packages is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ModelError(f'{what} needs {" and ".join(missing)}: pip install "harken[export]"')
