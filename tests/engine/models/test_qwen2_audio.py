"""The packed Qwen2-Audio graph against transformers: every length, any batch, any order."""

import numpy as np
import pytest
import torch

from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer

from ... import tiny, tolerances
from ..hf import Qwen2AudioOracle

# One frame, one token, odd tails, multiples of a hop, around a second, full window and past it.
LENGTHS = [160, 321, 480, 641, 3200, 15999, 16000, 16160, 33333, 100001, 479999, 480000, 480001, 640000]
AUDIO = "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>What is that sound?<|im_end|>\n"
TEXT = "<|im_start|>user\n{text}<|im_end|>\n"


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def pair(request, tmp_path_factory):
    folder = tiny.qwen2_audio(
        tmp_path_factory.mktemp(request.param),
        text=request.param,
        num_mels=128 if request.param == "qwen2" else 80,
        tied=request.param == "llama",
    )
    return Qwen2AudioOracle(folder), load_model(folder, dtype=torch.float32, device="cpu"), Tokenizer(folder)


def states(model, tokenizer, clips):
    """Normed hidden states of each clip's prompt, encoded in one batch."""
    template = Template(tokenizer, AUDIO, audio_token_id=model.audio_token_id)
    with torch.inference_mode():
        rows, counts = model.audio_rows(model.features(clips))
        prompts = [template.audio(n) for n in counts]
        hidden, segments = model.hidden(prompts, rows, causal=True)
        hidden = model.decoder.norm(hidden)
    return [hidden[a:b] for a, b in zip(segments.starts, segments.starts[1:])]


def test_every_length_equals_transformers(pair):
    oracle, model, tokenizer = pair
    clips = [tiny.wave(n, seed=i) for i, n in enumerate(LENGTHS)]
    for n, clip, got in zip(LENGTHS, clips, states(model, tokenizer, clips)):
        hears = model.tower.num_tokens(n) > 0
        want = oracle.hidden(AUDIO if hears else AUDIO.replace("{audio}", ""), [clip] if hears else [])
        assert got.shape == want.shape, n
        assert (got - want).abs().max() < tolerances.HIDDEN_FP32, n


def test_hard_signals_equal_transformers(pair):
    oracle, model, tokenizer = pair
    click = 1e-3 * tiny.wave(32000)
    click[-60:] += 0.5
    clips = [np.zeros(16000, np.float32), np.ones(8000, np.float32), click]
    for clip, got in zip(clips, states(model, tokenizer, clips)):
        assert (got - oracle.hidden(AUDIO, [clip])).abs().max() < tolerances.HIDDEN_FP32


def test_text_equals_transformers(pair):
    oracle, model, tokenizer = pair
    template = Template(tokenizer, TEXT)
    for text in ("a dog barks", "Ünïcödé 狗 🐕 in  the\n rain", "x"):
        with torch.inference_mode():
            hidden, _ = model.hidden([template.text(text)], None, causal=True)
            got = model.decoder.norm(hidden)
        assert (got - oracle.hidden(TEXT.format(text=text))).abs().max() < tolerances.HIDDEN_FP32


def test_two_clips_in_one_prompt(pair):
    oracle, model, tokenizer = pair
    clips = [tiny.wave(20000, 1), tiny.wave(9000, 2)]
    with torch.inference_mode():
        rows, counts = model.audio_rows(model.features(clips))
        parts = ["<|im_start|>", *(tiny.SPECIAL[3] * n for n in counts), "<|im_end|>\n"]
        ids = torch.tensor(tokenizer.encode(parts[0] + parts[1] + "and" + parts[2] + parts[3]).ids)
        x = model.decoder.embed(ids)
        x[ids == model.audio_token_id] = rows
        got = model.decoder.norm(model.decoder(x, Segments.of([len(ids)])))
    want = oracle.hidden("<|im_start|>{audio}and{audio}<|im_end|>\n", clips)
    assert (got - want).abs().max() < tolerances.HIDDEN_FP32


def test_neighbours_and_order_change_nothing(pair):
    _, model, tokenizer = pair
    clips = [tiny.wave(n, seed=i) for i, n in enumerate([3200, 16000, 16000, 33333, 700, 16000])]
    alone = [states(model, tokenizer, [clip])[0] for clip in clips]
    together = states(model, tokenizer, clips)
    backwards = states(model, tokenizer, clips[::-1])[::-1]
    for a, b, c in zip(alone, together, backwards):
        assert (a - b).abs().max() < tolerances.STATE_INVARIANCE * a.abs().max()
        assert (a - c).abs().max() < tolerances.STATE_INVARIANCE * a.abs().max()


def test_last_only_equals_the_last_row(pair):
    _, model, tokenizer = pair
    template = Template(tokenizer, TEXT)
    prompts = [template.text(t) for t in ("a dog", "rain", "music over a dog barking in the rain")]
    with torch.inference_mode():
        full, segments = model.hidden(prompts, None, causal=True)
        last, _ = model.hidden(prompts, None, causal=True, last_only=True)
    want = full[[start - 1 for start in segments.starts[1:]]]
    assert (want - last).abs().max() < tolerances.STATE_INVARIANCE * want.abs().max()


def test_positions_restart_in_every_sequence(pair):
    """Rotary positions are relative, so only looking at them shows whether they run on."""
    assert Segments.of([3, 1, 2]).positions("cpu").tolist() == [0, 1, 2, 0, 0, 1]
