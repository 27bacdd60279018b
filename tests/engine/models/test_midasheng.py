"""The packed MiDashengLM graph against a slow reference: every length, any batch, any order, all optional tensors."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harken.engine.models.dasheng import plan_dasheng
from harken.engine.models.load import load_model
from harken.engine.models.names import canonical
from harken.engine.models.packed import Segments
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import ModelError

from ... import tiny, tiny_midasheng, tolerances
from ..midasheng_reference import MiDashengReference

# One sample, the shortest, a patch's last quarter and its end, one and two windows and around them; patch 504 alone
# in its window and seen by nothing (323040); past 30 s.
LENGTHS = [
    160, 3199, 3200, 3201, 3680, 3839, 3840, 6240, 6399, 6400, 16000, 33333, 161119, 161120, 161279, 161280,
    161920, 163360, 323040, 323200, 480001,
]  # fmt: skip
AUDIO = "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>What is that sound?<|im_end|>\n"


@pytest.fixture(scope="module", params=["plain", "all"])
def pair(request, tmp_path_factory):
    folder = tiny_midasheng.midasheng(
        tmp_path_factory.mktemp(request.param),
        layer_scale=request.param == "all",
        projector_bias=request.param == "all",
    )
    return MiDashengReference(folder), load_model(folder, dtype=torch.float32, device="cpu"), Tokenizer(folder)


def audio_rows(model, clips):
    with torch.inference_mode():
        rows, counts = model.audio_rows(model.features(clips))
    return rows.split(counts)


def states(model, tokenizer, clips):
    """Normed hidden states of each clip's prompt, encoded in one batch."""
    template = Template(tokenizer, AUDIO, audio_token_id=model.audio_token_id)
    with torch.inference_mode():
        rows, counts = model.audio_rows(model.features(clips))
        hidden, segments = model.hidden([template.audio(n) for n in counts], rows, causal=True)
        hidden = model.decoder.norm(hidden)
    return [hidden[a:b] for a, b in zip(segments.starts, segments.starts[1:])]


def test_every_length_equals_the_reference(pair):
    reference, model, tokenizer = pair
    clips = [tiny.wave(n, seed=i) for i, n in enumerate(LENGTHS)]
    for n, clip, got in zip(LENGTHS, clips, audio_rows(model, clips)):
        want = reference.audio(clip)
        assert len(got) == len(want) == model.tower.num_tokens(n), n
        assert (got - want).abs().max() < tolerances.HIDDEN_FP32, n
    for clip, got in zip(clips[::5], states(model, tokenizer, clips[::5])):
        assert (got - reference.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_hard_signals_equal_the_reference(pair):
    reference, model, tokenizer = pair
    click = 1e-5 * tiny.wave(32000)
    click[-60:] += 0.9
    clips = [np.zeros(16000, np.float32), np.ones(8000, np.float32), click]
    for clip, got in zip(clips, states(model, tokenizer, clips)):
        assert (got - reference.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_two_clips_in_one_prompt_and_text_alone(pair):
    reference, model, tokenizer = pair
    clips = [tiny.wave(20000, 1), tiny.wave(9000, 2)]
    rows = audio_rows(model, clips)
    text = "<|im_start|>{audio}and{audio}<|im_end|>\n"
    first, second = ("<|AUDIO|>" * len(part) for part in rows)
    ids = tokenizer.encode(text.replace("{audio}", first, 1).replace("{audio}", second)).ids
    with torch.inference_mode():
        x = model.decoder.embed(torch.tensor(ids))
        x[torch.tensor(ids) == model.audio_token_id] = torch.cat(rows)
        got = model.decoder.norm(model.decoder(x, Segments.of([len(ids)])))
        hidden, _ = model.hidden(
            [Template(tokenizer, "<|im_start|>{text}<|im_end|>\n").text("a dog")], None, causal=True
        )
        said = model.decoder.norm(hidden)
    assert (got - reference.hidden(text, clips)).abs().max() < tolerances.HIDDEN_FP32
    assert (said - reference.hidden("<|im_start|>a dog<|im_end|>\n")).abs().max() < tolerances.HIDDEN_FP32


def test_neighbours_and_order_change_nothing(pair):
    _, model, tokenizer = pair
    clips = [tiny.wave(n, seed=i) for i, n in enumerate([3200, 15840, 16000, 161920, 700, 323040])]
    vectors = lambda given: [F.normalize(state[-1], dim=-1) for state in states(model, tokenizer, given)]
    alone = [vectors([clip])[0] for clip in clips]
    for a, b, c in zip(alone, vectors(clips), vectors(clips[::-1])[::-1]):
        assert (a - b).abs().max() < tolerances.STATE_INVARIANCE
        assert (a - c).abs().max() < tolerances.STATE_INVARIANCE


def test_positions_restart_in_every_window():
    plan = plan_dasheng([4 * 255], [0, 4 * 255], window=252, group=5)
    assert plan.segments.lengths == (252, 2)
    assert plan.positions_R.tolist() == [*range(252), 0, 1, 2]
    # 1020 frames end in a patch's last quarter: patch 254 sees the window of two and is itself unseen.
    assert plan.seen.lengths == (2,) and plan.seen_rows.tolist() == [252, 253]


def test_names_of_the_hub_are_known():
    assert canonical("audio_encoder.blocks.0.attn.qkv.weight") == "audio_tower.blocks.0.attn.qkv.weight"
    assert canonical("audio_projector.net.2.weight") == "projector.2.weight"
    assert canonical("decoder.model.layers.0.self_attn.q_proj.weight") == "decoder.layers.0.self_attn.q_proj.weight"
    assert canonical("decoder.lm_head.weight") == "lm_head.weight"
    assert canonical("audio_encoder.front_end.0.mel_scale.fb") is None


def test_other_features_are_refused(tmp_path):
    folder = tiny_midasheng.midasheng(tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["audio_encoder_config"]["n_fft"] = 400
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="n_fft"):
        load_model(folder, dtype=torch.float32, device="cpu")
