"""ALM2Vec's recipe on a tiny MiDashengLM: the end token's state after exactly these prompts, whatever the company."""

import numpy as np
import pytest
import torch.nn.functional as F

import harken
from harken.engine.recipes.alm2vec import QUERY_INSTRUCTION
from harken.errors import InputError

from .. import tiny, tiny_midasheng, tolerances
from .midasheng_reference import MiDashengReference

DOCUMENT = (
    "<|im_start|>system\nRepresent the user's input.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
)
QUERY = DOCUMENT.replace("Represent the user's input.", QUERY_INSTRUCTION)
SOUND = "<|audio_bos|>{audio}<|audio_eos|>"
LENGTHS = [160, 3200, 16000, 161920, 16000, 480001]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tiny_midasheng.midasheng(tmp_path_factory.mktemp("model"))
    return MiDashengReference(folder), harken.load(folder, recipe="alm2vec", batch_tokens=200)


@pytest.fixture(scope="module")
def clips():
    return [tiny.wave(n, seed=i) for i, n in enumerate(LENGTHS)]


def wanted(reference, prompt, clips=()):
    return F.normalize(reference.hidden(prompt, list(clips))[-1], dim=-1).numpy()


def test_sounds_texts_and_both_equal_the_reference(pair, clips):
    reference, model = pair
    sounds = [(clip, 16000) for clip in clips]
    asked = model.encode_audio_text([(sound, "Is it raining?") for sound in sounds], instruction=QUERY_INSTRUCTION)
    for clip, alone, both in zip(clips, model.encode_audio(sounds), asked):
        heard = clip[: 30 * 16000]
        assert np.abs(alone - wanted(reference, DOCUMENT.format(SOUND), [heard])).max() < tolerances.VECTOR_FP32
        prompt = QUERY.format("Is it raining?" + SOUND)
        assert np.abs(both - wanted(reference, prompt, [heard])).max() < tolerances.VECTOR_FP32
    for text, got in zip(["a dog", "Ünïcödé 狗"], model.encode_text(["a dog", "Ünïcödé 狗"])):
        assert np.abs(got - wanted(reference, DOCUMENT.format(text))).max() < tolerances.VECTOR_FP32
    queried = model.encode_text(["a dog"], instruction=QUERY_INSTRUCTION)[0]
    assert np.abs(queried - wanted(reference, QUERY.format("a dog"))).max() < tolerances.VECTOR_FP32


def test_company_and_order_change_nothing(pair, clips):
    _, model = pair
    sounds = [(clip, 16000) for clip in clips]
    together, backwards = model.encode_audio(sounds), model.encode_audio(sounds[::-1])[::-1]
    alone = np.concatenate([model.encode_audio([sound]) for sound in sounds])
    assert np.abs(together - alone).max() < tolerances.BATCH_INVARIANCE
    assert np.abs(backwards - alone).max() < tolerances.BATCH_INVARIANCE


def test_a_pair_without_a_question_is_refused(pair, clips):
    with pytest.raises(InputError, match=r"pairs\[0\]"):
        pair[1].encode_audio_text([((clips[0], 16000), " ")])
