"""Cases of sounds and of sentences: harken, and what a user would run instead, on the same weights.

    harken                  packed batches, as `harken.load` gives it
    hf published            one sample at a time through the full class, sounds padded to the longest the front end knows,
                            language head on every position
    hf own length           the same with features of the clip's own length, where the class takes them
    hf batched              transformers without its head, samples batched and padded to the longest: the best that it offers
    hf batched compiled     the same through torch.compile (--compile)
    onnxruntime, aoti       harken's graphs in a folder of `harken export --to onnx` (--onnx) or `--to aoti` (--aoti)
    sentence-transformers   on a merged checkpoint, as `harken export --to hf` makes it (--st)
    vllm                    vLLM's pooling models on the same checkpoint, where it is installed

A boundary says where the clock starts: "file" with the path of a WAV file, "samples" with samples in memory, "features" with
the log-mel features on the device (harken alone: the others have no such door), "text" with a sentence.

Source: own; what the published wrappers do is told in spec/peers.md 0.1 and 0.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.audio import load_audio
from ...engine.batching import plan_batches
from ...engine.embedder import Embedder
from ...engine.lm_encoder import LMEncoder
from ...engine.models.cost import decoder_flops, encode_flops
from ...engine.models.mllm import AudioLM
from ...engine.text.template import Prompt
from ...errors import InputError
from ...kernels.logmel import LogMel
from .encode import MIN_COSINE, smallest_cosine
from .exported import ExportedGraphs
from .other_libraries import SentenceTransformersPath, VllmPath
from .rivals import Qwen2AudioPath, TransformersPath
from .systems import Answer, Case, System
from .transformers_rivals import CompiledPath, text_path
from .workload import RATE_HZ, Workload

BOUNDARIES = ("file", "samples", "features")
SYSTEMS = (
    "harken", "hf published", "hf own length", "hf batched", "hf batched compiled", "onnxruntime", "aoti",
    "sentence-transformers", "vllm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What the rivals are made of."""

    # Others than those of SYSTEMS are left alone.
    names: Sequence[str] = SYSTEMS
    # Samples a batch of the rivals that batch.
    batch: int = 8
    compile: bool = False
    onnx: Path | None = None
    aoti: Path | None = None
    sentence_transformers: Path | None = None


class Rivals:
    """The rivals of one model, each made when it is first asked for and kept for the next case.

    Args:
        model: harken's.
        options: which, and from what.
        drawn: transformers' model with the weights of `model`, where that was drawn and not read from a folder.
    """

    def __init__(self, model: Embedder, options: Options, drawn: Callable[[], TransformersPath | None] | None) -> None:
        self.model, self.options, self._drawn = model, options, drawn
        self._made: dict[str, Any] = {}

    def systems(self, boundary: str, prepare: Callable[[Any], Any]) -> tuple[list[System], dict[str, str]]:
        """The rivals that are asked for, and the reason for each that is not to be had.

        Args:
            boundary: of BOUNDARIES, or "text".
            prepare: an item of that boundary -> samples or a sentence; part of what is timed.
        """
        systems, absent = [], {}
        for name in self.options.names:
            if name == "harken" or name not in SYSTEMS:
                continue
            try:
                if boundary == "features":
                    raise InputError("takes no features")
                systems.append(self._system(name, boundary == "text", prepare))
            except InputError as error:
                absent[name] = str(error)
        return systems, absent

    def _system(self, name: str, is_text: bool, prepare: Callable[[Any], Any]) -> System:
        batch = self.options.batch
        if name in ("hf published", "hf own length", "hf batched"):
            if is_text and name == "hf own length":
                raise InputError("a sentence has no features")
            path = self._hf(is_text)
            if name == "hf own length" and not self._takes_own_length():
                raise InputError("transformers takes features of this model's full window alone")
            head = name != "hf batched"
            own_length = name == "hf own length" or (not head and self._takes_own_length())
            encode: Answer = lambda items: path.encode(list(items), head=head, own_length=own_length)
            return _batched(name, encode, 1 if head else batch, prepare)
        if name == "hf batched compiled":
            if not self.options.compile:
                raise InputError("asked for by --compile")
            compiled, short = CompiledPath(self._hf(is_text)), self._takes_own_length()
            made = _batched(name, lambda items: compiled.encode(items, own_length=short), batch, prepare)
            return replace(made, compiles=True)
        other = self._other(name)
        return _batched(name, other.encode_text if is_text else other.encode_audio, batch, prepare)

    def _takes_own_length(self) -> bool:
        """Whether transformers' class takes features of a clip's own length: Qwen2.5-Omni's does."""
        return getattr(self.model.model.tower, "window", None) is not None

    def _hf(self, is_text: bool) -> TransformersPath:
        if "hf" not in self._made:
            self._made["hf"] = self._new_hf()
        path: TransformersPath = self._made["hf"]
        return text_path(path) if is_text else path

    def _new_hf(self) -> TransformersPath:
        model = self.model
        if not isinstance(model.model, AudioLM):
            raise InputError("the path through transformers is written for models with a decoder")
        kind = type(model.model.tower).__name__
        try:
            path = self._drawn() if self._drawn is not None else None
            if path is None:
                if kind != "WhisperTower" or self._takes_own_length() or self._drawn is not None:
                    raise InputError(
                        "transformers has no class for this model, or none that is loaded here from a folder"
                    )
                path = Qwen2AudioPath(model)
                path.model.to(device=model.model.device, dtype=model.model.dtype)
        except SystemExit as error:
            raise InputError(str(error)) from None
        return path

    def _other(self, name: str) -> Any:
        if name not in self._made:
            given, option = {
                "onnxruntime": (self.options.onnx, "--onnx"),
                "aoti": (self.options.aoti, "--aoti"),
                "sentence-transformers": (self.options.sentence_transformers, "--st"),
                "vllm": (self.model.folder, ""),
            }[name]
            if given is None:
                raise InputError(f"wants a folder: {option} FOLDER")
            kind = {"sentence-transformers": SentenceTransformersPath, "vllm": VllmPath}.get(name)
            self._made[name] = ExportedGraphs(given, self.model, name) if kind is None else kind(given, self.model)
        return self._made[name]


def audio_case(workload: Workload, boundary: str, paths: Sequence[Path], rivals: Rivals) -> Case:
    """Sounds of a workload at a boundary; `paths` are its files."""
    model = rivals.model
    prepare: Callable[[Any], Any] = lambda item: item
    if boundary == "file":
        items: list[Any] = list(paths)
        prepare = lambda path: load_audio(path).samples
        answer: Answer = lambda found: model.encode_audio(found)
    elif boundary == "samples":
        items = list(workload.clips)
        answer = lambda clips: model.encode_audio([(clip, RATE_HZ) for clip in clips])
    else:
        if not isinstance(model.encoder, LMEncoder):
            raise InputError(f"recipe {model.recipe.name}: the boundary 'features' is that of models with a decoder")
        items = [(model.model.features([clip]), model.audio_prompt(len(clip))) for clip in workload.clips]
        answer = lambda pairs: _of_features(model, pairs)
    systems, absent = rivals.systems(boundary, prepare)
    tokens, flops = [], 0.0
    if isinstance(model.model, AudioLM):
        nums_samples = [len(clip) for clip in workload.clips]
        tokens = [len(model.audio_prompt(n)) for n in nums_samples]
        flops = encode_flops(model.model, nums_samples, tokens, causal=model.recipe.attention == "causal") / len(tokens)
    return Case(
        "audio", workload.lengths, boundary, items, _with_harken(model, answer, systems), smallest_cosine,
        _least(model), absent, tokens, sum(workload.durations_s) / len(workload.durations_s), flops,
    )  # fmt: skip


def text_case(sentences: list[str], rivals: Rivals) -> Case:
    """Sentences."""
    model = rivals.model
    systems, absent = rivals.systems("text", lambda sentence: sentence)
    tokens, flops = [], 0.0
    if isinstance(model.model, AudioLM):
        tokens = [len(model.text_prompt(sentence)) for sentence in sentences]
        causal = model.recipe.attention == "causal"
        flops = decoder_flops(model.model.decoder.config, tokens, causal=causal) / len(tokens)
    answer: Answer = lambda texts: model.encode_text(list(texts))
    return Case(
        "text", "8 to 16 words", "text", list(sentences), _with_harken(model, answer, systems), smallest_cosine,
        _least(model), absent, tokens, 0.0, flops,
    )  # fmt: skip


def _with_harken(model: Embedder, answer: Answer, systems: list[System]) -> list[System]:
    return [System("harken", answer, None, model.batch_tokens), *systems]


def _least(model: Embedder) -> float:
    return MIN_COSINE.get(model.fingerprint.dtype, 0.9)


def _batched(name: str, encode: Answer, batch: int, prepare: Callable[[Any], Any]) -> System:
    def answer(items: Sequence[Any]) -> np.ndarray:
        parts = [items[i : i + batch] for i in range(0, len(items), batch)]
        return np.concatenate([encode([prepare(item) for item in part]) for part in parts])

    return System(name, answer, batch)


def _of_features(model: Embedder, items: Sequence[tuple[LogMel, Prompt]]) -> np.ndarray:
    encoder = model.encoder
    assert isinstance(encoder, LMEncoder)
    vectors = np.empty((len(items), model.dim), np.float32)
    for batch in plan_batches([encoder.cost(prompt) for _, prompt in items], model.batch_tokens):
        mels = [items[i][0] for i in batch]
        ends = list(accumulate((mel.cu_frames[-1] for mel in mels), initial=0))
        mel = LogMel(torch.cat([m.features_FM for m in mels]), ends, [n for m in mels for n in m.num_frames])
        vectors[batch] = encoder.feature_vectors(mel, [items[i][1] for i in batch]).cpu().numpy()
    return vectors
