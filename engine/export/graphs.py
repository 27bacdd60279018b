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
from ..models.whisper import WhisperTower
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


def readme(embedder: Embedder) -> str:
    """README.md of a folder of graphs: what each input is."""
    model = embedder.model
    if isinstance(model, DualEncoder):
        described = _TWO_ENCODERS
    else:
        described = (_WHISPER if isinstance(model.tower, WhisperTower) else _DASHENG) + _EMBEDDER
    return _README.format(spec=model.tower.spec.name, described=described)


_README = """# Graphs of an audio-text embedder

    python run_graphs.py --selftest

manifest.json names every graph's inputs, their dtypes and lengths; a length with a name may be anything within its bounds.
`harken.engine.export.graph_inputs` makes the inputs; golden.safetensors holds examples, `<input>.<graph>.<name>`.
Mel frames are those of the front end {spec}.

{described}"""

_WHISPER = """## audio_tower

A segment is a clip, or with Qwen2.5-Omni every 200 frames of one.

- mel [segments, mels, frames]: the frames of each segment, anything behind them; as many frames as the longest has, made even
- num_rows: frames that are there (whole clips bring two frames past their end, as far as the features' window goes)
- num_keys: (frames of the segment - 1) // 2 + 1, the positions that are attended to
- tokens [audio tokens, 2]: the two positions that an audio token is the mean of, counted through all segments: segment *
  (frames / 2) + position; a clip's positions are paired in order and an odd last one is left out
"""

_DASHENG = """## audio_tower

A patch is 4 frames, a segment up to 252 patches of a clip.

- mel [segments, mels, frames]: the frames of each segment, anything behind them; as many frames as the longest has
- num_keys: patches that are attended to: those of the clip's first (frames - 1) // 4 that lie in the segment, or all where
  the clip's last segment has one patch
- tokens [audio tokens, patches]: the patches that lie side by side in an audio token, counted through all segments: segment
  * (frames / 4) + patch; what is left over at a clip's end makes none
"""

_EMBEDDER = """
## embedder

- token_ids [batch, rows]: of the prompts, any id where a sound's rows stand, anything behind a prompt's end
- audio_rows [audio tokens, width]: what audio_tower gave; one row of zeros where no prompt holds a sound
- audio_index [batch, rows]: which of them stands at a place, -1 for a token
- lengths: of the prompts
- contents [batch, 2], where it is an input: first row of the text or sound itself in its prompt, and the row past its last

It gives the vectors, or one output for sounds and one for sentences where each has a head of its own.
"""

_TWO_ENCODERS = """## audio_tower

- mel [chunks, 1001, mels]: frames of at most 10 s of sound, repeated as often as they fit and followed by zeros

## text_tower

- token_ids [batch, rows], lengths: sentences as RoBERTa's tokenizer gives them, <s> and </s> included

## chunk_pool, where it is there

- chunk_vectors [batch, chunks, width]: what audio_tower gave for the chunks of each clip, anything behind them
- counts: chunks of each clip
"""


def need_packages(packages: Sequence[str], what: str) -> None:
    """Raise a ModelError that names the extra where one of the packages is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ModelError(f'{what} needs {" and ".join(missing)}: pip install "harken[export]"')
