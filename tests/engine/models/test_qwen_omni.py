"""The packed Qwen2.5-Omni thinker against transformers: every length, any batch, any order, either mask."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from harken.engine.models.config import decoder_config
from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments
from harken.engine.models.whisper import plan_tower
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import ModelError

from ... import tiny, tolerances
from ..hf import OmniOracle

# One frame (no audio token), one token, odd tails, around one segment of 2 s and two.
LENGTHS = [160, 321, 480, 3200, 16000, 31999, 32000, 32160, 33333, 64000, 100001]
# The full window of 30 s and past it.
LONG = [479999, 480000, 480001, 640000]
AUDIO = "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>What is that sound?<|im_end|>\n"
TEXT = "<|im_start|>user\n{text}<|im_end|>\n"
KINDS = {
    "full": (dict(layout="full", shards=2), True),
    "thinker": (dict(layout="thinker", rope="rope_parameters"), True),
    "nv-bidirectional": (dict(layout="nv", shards=2), False),
}


class Pair:
    """One checkpoint in transformers and in harken."""

    def __init__(self, folder, causal):
        self.folder, self.causal = folder, causal
        self.oracle = OmniOracle(folder, causal=causal)
        self.model = load_model(folder, dtype=torch.float32, device="cpu")
        self.tokenizer = Tokenizer(folder)

    @torch.inference_mode()
    def states(self, clips, model=None):
        """Normed hidden states of each clip's prompt, encoded in one batch."""
        model = model or self.model
        template = Template(self.tokenizer, AUDIO, audio_token_id=model.audio_token_id)
        rows, counts = model.audio_rows(model.features(clips))
        hidden, segments = model.hidden([template.audio(n) for n in counts], rows, causal=self.causal)
        hidden = model.decoder.norm(hidden)
        return [hidden[a:b] for a, b in zip(segments.starts, segments.starts[1:])]


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    options, causal = KINDS[request.param]
    return Pair(tiny.omni(tmp_path_factory.mktemp(request.param), **options), causal)


def test_every_length_equals_transformers(pair):
    lengths = LENGTHS + LONG * (pair.folder.name.startswith("full"))
    clips = [tiny.wave(n, seed=i) for i, n in enumerate(lengths)]
    for n, clip, got in zip(lengths, clips, pair.states(clips)):
        want = pair.oracle.hidden(AUDIO, [clip])
        assert got.shape == want.shape, n
        assert (got - want).abs().max() < tolerances.HIDDEN_FP32, n


def test_hard_signals_equal_transformers(pair):
    click = 1e-3 * tiny.wave(32000)
    click[-60:] += 0.5
    clips = [np.zeros(16000, np.float32), np.ones(8000, np.float32), click]
    for clip, got in zip(clips, pair.states(clips)):
        assert (got - pair.oracle.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_text_equals_transformers(pair):
    template = Template(pair.tokenizer, TEXT)
    texts = ["a dog barks", "Ünïcödé 狗 🐕 in  the\n rain", "x"]
    with torch.inference_mode():
        hidden, segments = pair.model.hidden([template.text(t) for t in texts], None, causal=pair.causal)
        hidden = pair.model.decoder.norm(hidden)
    for text, a, b in zip(texts, segments.starts, segments.starts[1:]):
        assert (hidden[a:b] - pair.oracle.hidden(TEXT.format(text=text))).abs().max() < tolerances.HIDDEN_FP32


def test_two_clips_in_one_prompt(pair):
    clips = [tiny.wave(40000, 1), tiny.wave(9000, 2)]
    with torch.inference_mode():
        rows, counts = pair.model.audio_rows(pair.model.features(clips))
        first, second = (tiny.SPECIAL[3] * n for n in counts)
        ids = torch.tensor(pair.tokenizer.encode(f"<|im_start|>{first}and{second}<|im_end|>\n").ids)
        x = pair.model.decoder.embed(ids)
        x[ids == pair.model.audio_token_id] = rows
        got = pair.model.decoder.norm(pair.model.decoder(x, Segments.of([len(ids)]), causal=pair.causal))
    want = pair.oracle.hidden("<|im_start|>{audio}and{audio}<|im_end|>\n", clips)
    assert (got - want).abs().max() < tolerances.HIDDEN_FP32


def test_neighbours_and_order_change_nothing(pair):
    clips = [tiny.wave(n, seed=i) for i, n in enumerate([3200, 33333, 16000, 64000, 700, 16000])]
    alone = [pair.states([clip])[0] for clip in clips]
    together = pair.states(clips)
    backwards = pair.states(clips[::-1])[::-1]
    for a, b, c in zip(alone, together, backwards):
        assert (a - b).abs().max() < tolerances.STATE_INVARIANCE * a.abs().max()
        assert (a - c).abs().max() < tolerances.STATE_INVARIANCE * a.abs().max()


def test_bfloat16_stays_close(pair):
    half = load_model(pair.folder, dtype=torch.bfloat16, device="cpu")
    clips = [tiny.wave(n, seed=i) for i, n in enumerate([3200, 33333, 100001])]
    for clip, got in zip(clips, pair.states(clips, half)):
        want = pair.oracle.hidden(AUDIO, [clip])
        # A decoder that looks both ways is never pooled at its last token.
        for a, b in [(got.mean(0), want.mean(0)), (got[-1], want[-1])][: 1 + pair.causal]:
            assert F.cosine_similarity(a.float(), b, dim=0) > tolerances.COSINE_BF16


def test_nemotrons_checkpoint_can_be_run_causal(tmp_path):
    pair = Pair(tiny.omni(tmp_path, "nv"), True)
    clips = [tiny.wave(n) for n in (321, 16000, 33333)]
    for clip, got in zip(clips, pair.states(clips)):
        assert (got - pair.oracle.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_the_hubs_window_of_300_s(tmp_path):
    pair = Pair(tiny.omni(tmp_path, "thinker", chunk_s=300), True)
    clip = tiny.wave(640000, 3)
    got = pair.states([clip])[0]
    assert len(got) > 1000
    assert (got - pair.oracle.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_positions_restart_in_every_prompt(pair, monkeypatch):
    """Rotary positions are relative, so only looking at them shows whether they run on."""
    seen = []
    rotary = pair.model.decoder.rotary
    monkeypatch.setattr(pair.model.decoder, "rotary", lambda at, dtype: seen.append(at.tolist()) or rotary(at, dtype))
    lengths = [len(states) for states in pair.states([tiny.wave(16000), tiny.wave(8000)])]
    assert seen == [[*range(lengths[0]), *range(lengths[1])]]


def test_segments_of_two_seconds_restart_their_positions():
    plan = plan_tower([410, 200], [0, 410, 610], 200)
    assert plan.segments.lengths == (100, 100, 100, 5)
    assert plan.positions_P.tolist() == [*range(100)] * 3 + [*range(5)]
    assert plan.num_tokens == (102, 50)


def test_parts_without_sound_or_text_are_not_read(pair):
    names = {name.split(".")[0] for name in pair.model.state_dict()}
    assert names == {"tower", "decoder"}


def test_sizes_left_out_of_the_config_are_those_of_the_7b():
    config = decoder_config({"model_type": "qwen2_5_omni_text"}, "config.json")
    assert (config.width, config.num_layers, config.num_heads, config.num_kv_heads) == (3584, 28, 28, 4)
    assert (config.mlp_width, config.vocab_size, config.rope_theta, config.head_width) == (18944, 152064, 1e6, 128)


def test_a_missing_tensor_is_named_as_it_is_known_here(tmp_path):
    folder = tiny.omni(tmp_path, "full")
    tensors = load_file(folder / "model.safetensors")
    del tensors["thinker.audio_tower.ln_post.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing audio_tower\.ln_post\.weight \(64,\)"):
        load_model(folder, dtype=torch.float32, device="cpu")


def test_a_projection_of_another_width_is_refused(tmp_path):
    folder = tiny.omni(tmp_path, "thinker")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_size"] = 40
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"audio_tower\.proj\.weight has shape \(48, 64\), wanted \(40, 64\)"):
        load_model(folder, dtype=torch.float32, device="cpu")
