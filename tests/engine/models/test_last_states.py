"""Beginnings shared between prompts change nothing but the work done."""

import numpy as np
import pytest
import torch

from harken.engine.models import last_states as module
from harken.engine.models.last_states import LastStates
from harken.engine.models.load import load_model
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer

from ... import tiny, tolerances

OPENING = "<|im_start|>system\nYou hear sounds.<|im_end|>\n<|im_start|>user\n"


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80, tied=True)
    return load_model(folder, dtype=torch.float32, device="cpu"), Tokenizer(folder)


def plain(model, prompts, rows):
    return model.hidden(prompts, rows, causal=True, last_only=True)[0]


def close(got, want):
    return (got - want).abs().max() < tolerances.STATE_INVARIANCE * want.abs().max()


def test_texts_of_two_openings_and_none(setup):
    model, tokenizer = setup
    long, other = Template(tokenizer, OPENING + "{text}<|im_end|>\n"), Template(tokenizer, OPENING + "Find:\n{text}")
    short = Template(tokenizer, "{text}")
    prompts = [
        long.text("a dog"),
        short.text("rain"),
        other.text("a dog"),
        long.text("\nmusic over cars"),
        short.text("x"),
    ]
    with torch.inference_mode():
        states = LastStates(model)
        assert close(states(prompts, None), plain(model, prompts, None))
        assert close(states(prompts[:1], None), plain(model, prompts[:1], None))


def test_sounds_of_different_lengths(setup):
    model, tokenizer = setup
    template = Template(tokenizer, OPENING + "<|audio_bos|>{audio}<|audio_eos|>?", audio_token_id=model.audio_token_id)
    with torch.inference_mode():
        rows, counts = model.audio_rows(model.features([tiny.wave(n) for n in (3200, 16000, 800, 16000)]))
        prompts = [template.audio(n) for n in counts]
        assert close(LastStates(model)(prompts, rows), plain(model, prompts, rows))


def test_an_opening_runs_once_and_few_are_kept(setup, monkeypatch):
    model, tokenizer = setup
    calls = []
    real = module.prefill
    monkeypatch.setattr(module, "prefill", lambda *a: calls.append(a) or real(*a))
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    states = LastStates(model)
    template = Template(tokenizer, OPENING + "{instruction}\n{text}")
    with torch.inference_mode():
        for instruction in "abac":
            states([template.text(t, instruction=instruction) for t in ("a dog", "rain")], None)
    assert len(calls) == 3 and len(states._kept) == 2


def test_many_threads_share_one(setup):
    from concurrent.futures import ThreadPoolExecutor

    model, tokenizer = setup
    states, template = LastStates(model), Template(tokenizer, OPENING + "{text}")
    prompts = [template.text(t) for t in ("a dog", "rain", "cars pass by")]

    def run(prompt):
        with torch.inference_mode():
            return states([prompt], None).numpy()

    with ThreadPoolExecutor(3) as pool, torch.inference_mode():
        got = np.concatenate(list(pool.map(run, prompts * 4)))
        want = plain(model, prompts, None).repeat(4, 1)
    assert close(torch.from_numpy(got), want)
