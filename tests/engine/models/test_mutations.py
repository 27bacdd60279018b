"""A test of the tests: the usual mistakes, made on purpose, must each show against transformers."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harken.engine.models import whisper
from harken.engine.models.layers import RMSNorm
from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.kernels import logmel as logmel_module
from harken.kernels.logmel import LogMel

from ... import tiny, tolerances
from ..hf import OmniOracle

AUDIO = "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>What is that sound?<|im_end|>\n"
# A mistake must stand out this many times over the tolerance.
MARGIN = 4
MISTAKES = {}


def mistake(function):
    """Collect a function (patch, model) that makes one mistake in a copy of the model, or in a module."""
    MISTAKES[function.__name__] = function
    return function


def change_plan(patch, change):
    plan_tower = whisper.plan_tower
    patch.setattr(whisper, "plan_tower", lambda *given: change(plan_tower(*given)))


def change_spec(model, **numbers):
    model.tower.spec = replace(model.tower.spec, **numbers)


@mistake
def attention_over_the_whole_clip(patch, model):
    change_plan(patch, lambda plan: replace(plan, segments=Segments.of([plan.segments.num_rows])))


@mistake
def positions_run_on_over_segments(patch, model):
    change_plan(patch, lambda plan: replace(plan, positions_P=np.arange(len(plan.positions_P))))


def read_on_past_edges(patch, which):
    """A convolution that finds the nearest row, not zeros, past a segment's edge."""
    taps = whisper._taps

    def clipped(centres, length, first, zero_row):
        if (len(centres) == length) != (which == "conv1"):
            return taps(centres, length, first, zero_row)
        return first + np.clip(centres[:, None] + np.arange(-1, 2), 0, length - 1)

    patch.setattr(whisper, "_taps", clipped)


@mistake
def no_zeros_at_edges_before_conv1(patch, model):
    read_on_past_edges(patch, "conv1")


@mistake
def no_zeros_at_edges_before_conv2(patch, model):
    read_on_past_edges(patch, "conv2")


class Early(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x, segments):
        return self.norm(x)


@mistake
def norm_before_the_mean_of_pairs(patch, model):
    model.tower.layers.append(Early(model.tower.norm))
    model.tower.norm = torch.nn.Identity()


@mistake
def tanh_gelu(patch, model):
    gelu = F.gelu
    patch.setattr(F, "gelu", lambda x: gelu(x, approximate="tanh"))


@mistake
def floor_of_the_frames(patch, model):
    def floored(samples, cu, spec, **options):
        mel = logmel_module.logmel(samples, cu, spec, **options)
        frames = max(1, min(len(samples), options["max_samples"]) // spec.hop_length)
        return LogMel(mel.features_FM[:frames], [0, frames], [frames])

    patch.setattr(whisper, "logmel", floored)


@mistake
def right_edge_mirrored(patch, model):
    def mirrored(samples, cu, spec, **options):
        frames = -(-len(samples) // spec.hop_length)
        mel = logmel_module.logmel(samples, cu, replace(spec, right_edge="reflect"))
        return LogMel(mel.features_FM[:frames], [0, frames], [frames])

    patch.setattr(whisper, "logmel", mirrored)


@mistake
def maximum_over_the_kept_frames_only(patch, model):
    plan_frames = logmel_module.plan_frames

    def kept_only(*given):
        plan = plan_frames(*given)
        return plan._replace(num_work=plan.num_rows)

    patch.setattr(logmel_module, "plan_frames", kept_only)


@mistake
def range_below_the_maximum(patch, model):
    change_spec(model, max_range=7.0)


@mistake
def another_mel_scale(patch, model):
    change_spec(model, mel_scale="htk")


@mistake
def rotary_base_of_another_model(patch, model):
    width = model.decoder.config.head_width
    model.decoder.inverse_frequencies = 1e4 ** -(torch.arange(0, width, 2) / width)


@mistake
def no_final_norm(patch, model):
    model.decoder.norm = torch.nn.Identity()


@mistake
def rms_eps_of_another_model(patch, model):
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.eps = 1e-5


@mistake
def queries_keys_and_values_without_biases(patch, model):
    for layer in model.decoder.layers:
        layer.qkv.bias = None


@mistake
def audio_rows_one_place_too_early(patch, model):
    embed = model.embed

    def early(prompts, rows):
        first, count = prompts[0].audio_span
        return embed([replace(prompts[0], audio_span=(first - 1, count))], rows)

    model.embed = early


@mistake
def looks_both_ways(patch, model):
    hidden = model.hidden
    model.hidden = lambda prompts, rows, causal: hidden(prompts, rows, causal=False)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """Model, tokenizer, clips and what transformers makes of them."""
    folder = tiny.omni(tmp_path_factory.mktemp("model"), "thinker")
    # A whole number of hops with all the energy in the last 60 samples: the loudest frame is one past the last.
    loud_end = 1e-3 * tiny.wave(32000)
    loud_end[-60:] += 0.5
    clips = [tiny.wave(n, seed=i) for i, n in enumerate([3200, 33333, 48000])] + [loud_end]
    oracle = OmniOracle(folder)
    model = load_model(folder, dtype=torch.float32, device="cpu")
    return model, Tokenizer(folder), clips, [oracle.hidden(AUDIO, [clip]) for clip in clips]


def difference(model, setup):
    """Largest difference to transformers; infinite where even the number of tokens differs."""
    _, tokenizer, clips, wanted = setup
    template = Template(tokenizer, AUDIO, audio_token_id=model.audio_token_id)
    worst = 0.0
    with torch.inference_mode():
        for clip, want in zip(clips, wanted):
            rows, counts = model.audio_rows(model.features([clip]))
            got = model.decoder.norm(model.hidden([template.audio(counts[0])], rows, causal=True)[0])
            worst = max(worst, float((got - want).abs().max()) if got.shape == want.shape else float("inf"))
    return worst


def test_no_mistake_no_difference(setup):
    assert difference(copy.deepcopy(setup[0]), setup) < tolerances.HIDDEN_FP32


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_shows(setup, monkeypatch, name):
    # The mistakes are made in the plain forms of the operations.
    monkeypatch.setenv("HARKEN_BACKEND", "reference")
    model = copy.deepcopy(setup[0])
    MISTAKES[name](monkeypatch, model)
    assert difference(model, setup) > MARGIN * tolerances.HIDDEN_FP32
