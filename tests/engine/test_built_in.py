"""The built-in model itself: the vectors that transformers and peft give on real sounds; and it finds what is asked for."""

import json
from importlib.resources import files

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import harken
from harken.bench.latency.rivals import Qwen2AudioPath

from .. import tolerances

CLIPS = files("harken.engine") / "assets" / "clips"


@pytest.fixture(scope="module")
def model():
    return harken.load(device="cpu")


@pytest.fixture(scope="module")
def clips():
    return [clip for clip in json.loads((CLIPS / "clips.json").read_text())["clips"] if clip["duration_s"] < 5]


@pytest.fixture(scope="module")
def sounds(model, clips):
    """Vectors of all clips."""
    return model.encode_audio([CLIPS / clip["file"] for clip in clips])


def test_sounds_and_texts_equal_transformers_with_peft(model, clips):
    path = Qwen2AudioPath(model)
    waves = [model.load_clip(CLIPS / clip["file"], clip["file"]).samples for clip in clips[:2]]
    got = model.encode_audio([(wave, 16000) for wave in waves])
    want = np.concatenate([path.encode([wave], head=False) for wave in waves])
    assert np.abs(got - want).max() < tolerances.VECTOR_FP32
    texts = ["A dog barks.", "thunder and rain, then silence"]
    for text, vector in zip(texts, model.encode_text(texts)):
        ids = path.tokenizer(
            model.recipe.text_template.format(text=text), add_special_tokens=False, return_tensors="pt"
        )
        with torch.no_grad():
            pooled = path.model.model(**ids, use_cache=False).last_hidden_state[0].mean(0, keepdim=True)
            expected = F.normalize(model.text_head(pooled), dim=-1).numpy()[0]
        assert np.abs(vector - expected).max() < tolerances.VECTOR_FP32


def test_captions_find_their_sounds_far_better_than_chance(model, clips, sounds):
    """Clips that training never heard: the right one is among the first five of 25 for most captions; chance is one in five."""
    texts = model.encode_text([clip["caption"] for clip in clips])
    scores = texts @ sounds.T
    ranks = (scores > np.diag(scores)[:, None]).sum(1)
    assert len(clips) > 20 and (ranks < 5).mean() > 0.5


def test_a_sound_finds_itself(model, clips, sounds):
    index = harken.Index.build(sounds, ids=[clip["file"] for clip in clips], fingerprint=model.fingerprint)
    again = model.encode_audio([CLIPS / clips[3]["file"]])
    hits = index.search(again, k=1, fingerprint=model.fingerprint)
    assert hits.ids == [[clips[3]["file"]]] and hits.scores[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_bfloat16_is_close_and_finds_the_same(model, clips, sounds):
    """The fast choice on a CPU that multiplies bfloat16."""
    half = harken.load(device="cpu", dtype="bfloat16")
    texts = [clip["caption"] for clip in clips[:8]]
    heard = sounds[:8], half.encode_audio([CLIPS / clip["file"] for clip in clips[:8]])
    words = model.encode_text(texts), half.encode_text(texts)
    for exact, fast in (heard, words):
        assert (exact * fast).sum(1).min() > tolerances.COSINE_BF16_BUILT_IN
    exact, fast = (w @ s.T for w, s in zip(words, heard))
    assert np.abs(exact - fast).max() < 0.03
