"""What each of harken's parts is worth: the same clips with one part switched off at a time.

    harken bench ablation [--model FOLDER --recipe NAME] [--lengths mix] [--clips 8] [--out FILE]

Question: where do the saved milliseconds come from?
Gate:     what a part does not change must not change: vectors agree (cosine 0.9999), but for padding, which is heard.
Ways:     "all on"
          "padded to 30 s"        every clip filled with silence to the front end's length, as the published wrappers do
          "mel by transformers"   WhisperFeatureExtractor on the CPU, padded to its length, clip by clip
          "one clip a batch"      no packing of clips
          "vocabulary"            the language head on every position
          "LoRA not merged"       rank 16 beside every product of the decoder (with an up-projection of zeros)
          "no shared beginning"   prompts computed whole (recipes that pool the last token)
          "no graphs"             without captured CUDA graphs (CUDA alone)
Reads:    ms a clip, and what it costs to do without. The ways take turns; the median counts.

Source: own; the wastes are those of spec/recipes.md H.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.embedder import Embedder
from ...engine.lm_encoder import LMEncoder
from ...engine.load import load
from ...engine.models.layers import Linear
from ...engine.models.mllm import AudioLM
from ...kernels.logmel import LogMel
from ..kernels.compare import in_turns
from ..record import save
from .workload import RATE_HZ, make_workload

RANK = 16
PAD_S = 30.0
# A way's vectors need not be those of "all on" where what it adds is heard.
HEARD = ("padded to 30 s",)
Way = Callable[[], np.ndarray]


def make_ways(model: Embedder, clips: Sequence[np.ndarray]) -> dict[str, Way]:
    """The ways that this model and device have, "all on" first."""
    encoder = model.encoder
    if not isinstance(encoder, LMEncoder):
        raise SystemExit(f"recipe {model.recipe.name}: the ablation is written for models with a decoder")
    sounds = [(clip, RATE_HZ) for clip in clips]
    padded = [(np.pad(clip, (0, max(0, round(PAD_S * RATE_HZ) - len(clip)))), RATE_HZ) for clip in clips]
    encode = lambda: model.encode_audio(sounds)
    ways: dict[str, Way] = {
        "all on": encode,
        "padded to 30 s": lambda: model.encode_audio(padded),
        "mel by transformers": _within(lambda: _slow_mel(encoder.model, model.folder), encode),
        "one clip a batch": lambda: np.concatenate([model.encode_audio([sound]) for sound in sounds]),
        "vocabulary": _within(lambda: _vocabulary(encoder), encode),
        "LoRA not merged": _within(lambda: _unmerged(encoder.model), encode),
    }
    if _pools_last(encoder):
        ways["no shared beginning"] = _within(
            lambda: _replaced(encoder, "_last_states", _WholePrompts(encoder)), encode
        )
    if encoder.model.device.type == "cuda":
        ways["no graphs"] = _within(lambda: _replaced(encoder, "_captured", None), encode)
    return ways


def measure(ways: dict[str, Way], device: torch.device, num_clips: int, rounds: int) -> list[dict[str, Any]]:
    """One row a way.

    Raises:
        SystemExit: a way gives other vectors.
    """
    wanted = ways["all on"]()
    for name, way in ways.items():
        cosine = float((way() * wanted).sum(1).min())
        if name not in HEARD and not cosine >= 0.9999:
            raise SystemExit(f"FAILED: {name} gives other vectors: cosine {cosine:.6f}; nothing is timed")
    timings = in_turns(ways, device, rounds=rounds, warmup=0)
    whole_ms = timings["all on"].p50_ms
    return [
        {
            "without": name,
            "ms_a_clip": timing.p50_ms / num_clips,
            "costs_ms_a_clip": (timing.p50_ms - whole_ms) / num_clips,
            "times": timing.p50_ms / whole_ms,
        }
        for name, timing in timings.items()
    ]


def _within(context: Callable[[], Any], way: Way) -> Way:
    def run() -> np.ndarray:
        with context():
            return way()

    return run


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


@contextmanager
def _hooked(modules: Sequence[torch.nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def _vocabulary(encoder: LMEncoder) -> Any:
    """The product with the vocabulary on every row of the decoder; its result is dropped."""
    model = encoder.model
    if _pools_last(encoder):
        return _replaced(encoder, "_last_states", _WholePrompts(encoder, with_head=True))

    def multiply(module: torch.nn.Module, given: object, made: torch.Tensor) -> None:
        language_head(made, model.decoder.embed_tokens)

    return _hooked([model.decoder], multiply)


def _pools_last(encoder: LMEncoder) -> bool:
    """Whether prompts' beginnings are shared, as they are under causal attention with the last state alone."""
    return encoder.recipe.pooling == "last" and encoder.recipe.attention == "causal"


def language_head(states_NW: torch.Tensor, table_VW: torch.Tensor) -> torch.Tensor:
    """Logits [N, V] of every row."""
    return states_NW @ table_VW.T


def _unmerged(model: AudioLM) -> Any:
    """y + B (A x) with B zero: the cost of LoRA beside the weight, and none of its effect."""
    factors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    linears = [module for module in model.decoder.modules() if isinstance(module, Linear)]
    for linear in linears:
        num_out, num_in = linear.weight.shape
        down, up = linear.weight.new_full((RANK, num_in), 0.01), linear.weight.new_zeros(num_out, RANK)
        factors[id(linear)] = down, up

    def add(module: Linear, given: tuple[torch.Tensor], made: torch.Tensor) -> torch.Tensor:
        down, up = factors[id(module)]
        return made + given[0] @ down.T @ up.T

    return _hooked(linears, add)


def _slow_mel(model: AudioLM, folder: Path) -> Any:
    """Features by transformers' extractor, each clip padded to the extractor's length and cut again."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    fast = model.tower.features

    def features(samples_N: torch.Tensor, cu_samples: Sequence[int]) -> LogMel:
        mel = fast(samples_N, cu_samples)
        clips = [samples_N[first:last].cpu().numpy() for first, last in pairwise(cu_samples)]
        slow = [
            extractor(clip, sampling_rate=RATE_HZ, padding="max_length", return_tensors="pt")["input_features"][0].T
            for clip in clips
        ]
        out_FM = mel.features_FM.clone()
        for rows, first, count in zip(slow, mel.cu_frames, mel.num_frames):
            out_FM[first : first + count] = rows[:count].to(out_FM)
        return mel._replace(features_FM=out_FM)

    return _replaced(model.tower, "features", features)


class _WholePrompts:
    """In the place of LastStates: every prompt from its first token, and where asked the language head on all of it."""

    def __init__(self, encoder: LMEncoder, with_head: bool = False) -> None:
        self._model, self._with_head = encoder.model, with_head

    def __call__(self, prompts: Any, rows_AW: torch.Tensor | None) -> torch.Tensor:
        states, segments = self._model.hidden(prompts, rows_AW, causal=True, last_only=not self._with_head)
        if not self._with_head:
            return states
        language_head(states, self._model.decoder.embed_tokens)
        return states[[first + len(prompt) - 1 for first, prompt in zip(segments.starts, prompts)]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="checkpoint folder; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--device")
    parser.add_argument("--lengths", default="mix")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    model = load(args.model, recipe=args.recipe, device=args.device)
    workload = make_workload(args.lengths, args.clips)
    rows = measure(make_ways(model, workload.clips), model.model.device, args.clips, args.rounds)
    for row in rows:
        print(f"{row['without']:>22} {row['ms_a_clip']:9.1f} ms a clip   {row['times']:.2f} times all on")
    if args.out:
        settings = {
            "device": model.model.device.type,
            "model": model.fingerprint.to_dict(),
            "workload": workload.describe(),
        }
        save(args.out, "ablation", "one part switched off at a time", settings, rows)


if __name__ == "__main__":
    main()
