"""Final vectors of each published system against transformers, pooling and heads written out plainly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import harken
from harken.engine.recipes import get_recipe
from harken.errors import AudioError, InputError, ModelError

from ... import tiny, tolerances
from ...tiny_midasheng import midasheng
from ..hf import OmniOracle, Qwen2AudioOracle

# One audio token, odd tails, around one segment of 2 s and two, and past the tiny checkpoints' 30 s.
LENGTHS = [321, 3200, 16000, 31999, 32000, 32160, 33333, 64000, 100001, 480001]
TEXTS = ["a dog barks", "Ünïcödé 狗 in  the rain", "x"]
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
USER = SYSTEM + "<|im_start|>user\n{content}<|im_end|>\n"
SOUND = "<|audio_bos|>{audio}<|audio_eos|>"


def mean(hidden, heads, head):
    return F.normalize(hidden.mean(0), dim=0)


def last(hidden, heads, head):
    return F.normalize(hidden[-1], dim=0)


def mean_then_head(hidden, heads, head):
    projected = heads[f"{head}.linear.weight"] @ F.normalize(hidden.mean(0), dim=0)
    normed = (projected - projected.mean()) / (projected.var(correction=0) + 1e-5).sqrt()
    return F.normalize(normed * heads[f"{head}.norm.weight"] + heads[f"{head}.norm.bias"], dim=0)


@dataclass
class System:
    """What a system does, said again without the recipe."""

    make: Callable[[Path], Path]
    oracle: Callable[[Path], Any]
    # What stands in the user's turn, and after it.
    sound: str
    text: str
    after: str
    pooled: Callable[..., torch.Tensor]
    # What the published prompt goes on with; nothing of it is pooled.
    dead: str = ""
    max_samples: int | None = None


ASSISTANT = "<|im_start|>assistant\n"
OEA = dict(sound=SOUND, text="query:{text}", after="", pooled=mean_then_head, max_samples=2_048_000)
SYSTEMS = {
    "oea-qwen3b": System(lambda f: tiny.omni(f, "full", shards=2), OmniOracle, **OEA),
    "oea-nemo3b": System(lambda f: tiny.omni(f, "nv"), OmniOracle, **OEA),
    "aurola-3b": System(
        make=lambda f: tiny.omni(f, "thinker"),
        oracle=OmniOracle,
        sound=SOUND + "\nSummarize above audio in one word: ",
        text="{text}\nSummarize above sentence in one word: ",
        after=ASSISTANT,
        pooled=last,
        dead="<emb>.<|im_end|>\n",
    ),
    "lco-embedding-3b": System(
        make=lambda f: tiny.omni(f, "thinker", rope="rope_parameters"),
        oracle=OmniOracle,
        sound=SOUND + "\nSummarize the above audio in one word:",
        text="{text}\nSummarize the above text in one word:",
        after=ASSISTANT,
        pooled=last,
    ),
    "omni-embed-nemotron": System(
        make=lambda f: tiny.omni(f, "nv"),
        oracle=lambda f: OmniOracle(f, causal=False),
        sound="passage: " + SOUND,
        text="query: {text}",
        after="",
        pooled=mean,
        max_samples=2_048_000,
    ),
    "qwen2-audio": System(tiny.qwen2_audio, Qwen2AudioOracle, SOUND, "{text}", "", mean),
}


class Case:
    """A system's tiny checkpoint in harken and in transformers."""

    def __init__(self, name, folder):
        self.system = system = SYSTEMS[name]
        self.folder = system.make(folder)
        tiny.write_heads(folder, ["audio_head", "text_head"], width=48, dim=32)
        self.heads = load_file(folder / "heads.safetensors")
        self.model = harken.load(folder, recipe=name, device="cpu", batch_tokens=1000)
        self.oracle = system.oracle(folder)

    def want(self, content, head, clips=(), max_samples=None):
        system = self.system
        max_samples = max_samples or system.max_samples
        options = {"max_samples": max_samples} if max_samples else {}
        prompt = USER.replace("{content}", content) + system.after + system.dead
        hidden = self.oracle.hidden(prompt, list(clips), **options)
        num_dead = len(self.oracle.tokenizer(system.dead, add_special_tokens=False)["input_ids"])
        return system.pooled(hidden[: len(hidden) - num_dead], self.heads, head).numpy()


@pytest.fixture(scope="module", params=SYSTEMS)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp("model"))


def test_vectors_of_sounds_equal_transformers(case):
    clips = [tiny.wave(n, seed=i) for i, n in enumerate(LENGTHS)] + [np.zeros(20000, np.float32)]
    vectors = case.model.encode_audio([(clip, 16000) for clip in clips])
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    for clip, got in zip(clips, vectors):
        want = case.want(case.system.sound, "audio_head", [clip])
        assert np.abs(got - want).max() < tolerances.VECTOR_FP32, len(clip)


def test_vectors_of_texts_equal_transformers(case):
    for text, got in zip(TEXTS, case.model.encode_text(TEXTS)):
        want = case.want(case.system.text.replace("{text}", text), "text_head")
        assert np.abs(got - want).max() < tolerances.VECTOR_FP32, text


def test_company_and_order_change_nothing(case):
    clips = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate([3200, 33333, 16000, 3200])]
    together = case.model.encode_audio(clips)
    assert np.abs(case.model.encode_audio(clips[::-1])[::-1] - together).max() < tolerances.BATCH_INVARIANCE
    for clip, got in zip(clips, together):
        assert np.abs(case.model.encode_audio([clip])[0] - got).max() < tolerances.BATCH_INVARIANCE


@pytest.fixture(scope="module")
def oea(tmp_path_factory):
    return Case("oea-qwen3b", tmp_path_factory.mktemp("oea"))


@pytest.fixture(scope="module")
def aurola(tmp_path_factory):
    return Case("aurola-3b", tmp_path_factory.mktemp("aurola"))


def test_a_clip_longer_than_the_recipes_window_is_cut_and_mirrored_there(oea):
    """The release cuts and pads to its own cap, not to the checkpoint's: a clip that fills it ends in its mirror image."""
    short = replace(get_recipe("oea-qwen3b"), max_audio_s=2.0, feature_window_s=2.0)
    model = harken.load(oea.folder, recipe=short, device="cpu")
    clip = 1e-3 * tiny.wave(40000)
    clip[31900:32000] += 0.5
    got = model.encode_audio([(clip, 16000)])[0]
    want = oea.want(SOUND, "audio_head", [clip], max_samples=32000)
    silence_follows = oea.want(SOUND, "audio_head", [clip[:32000]])
    assert np.abs(got - want).max() < tolerances.VECTOR_FP32 < np.abs(silence_follows - want).max()


def test_a_feature_window_without_a_whisper_tower_is_refused(tmp_path):
    folder = midasheng(tmp_path)
    recipe = replace(get_recipe("alm2vec"), feature_window_s=2.0)
    with pytest.raises(ModelError, match="sets feature_window_s"):
        harken.load(folder, recipe=recipe, device="cpu")


def test_sounds_with_a_text_equal_transformers(aurola):
    clips, texts = [tiny.wave(33333), tiny.wave(8000, 1)], ["a dog", "a car passes by"]
    vectors = aurola.model.encode_audio_text([((clip, 16000), text) for clip, text in zip(clips, texts)])
    for clip, text, got in zip(clips, texts, vectors):
        content = f"{SOUND}{text}\nSummarize above audio and sentence in one word: "
        assert np.abs(got - aurola.want(content, None, [clip])).max() < tolerances.VECTOR_FP32


def test_wrong_pairs_are_named(aurola, oea):
    clip = (tiny.wave(8000), 16000)
    with pytest.raises(InputError, match=r"pairs\[1\]: a text is empty"):
        aurola.model.encode_audio_text([(clip, "a dog"), (clip, " ")])
    with pytest.raises(AudioError, match=r"sources\[1\]"):
        aurola.model.encode_audio_text([(clip, "a dog"), ((np.full(9, np.nan, np.float32), 16000), "rain")])
    with pytest.raises(InputError, match="takes no sound together with a text"):
        oea.model.encode_audio_text([(clip, "a dog")])


def test_nemotrons_prefix_is_the_callers_to_choose(tmp_path):
    case = Case("omni-embed-nemotron", tmp_path)
    got = case.model.encode_text(["rain"], instruction="passage: ")[0]
    assert np.abs(got - case.want("passage: rain", None)).max() < tolerances.VECTOR_FP32


def test_recipes_refuse_other_backbones(oea):
    with pytest.raises(ModelError, match="oea-nemo3b.*is a qwen2_5_omni"):
        harken.load(oea.folder, recipe="oea-nemo3b")
