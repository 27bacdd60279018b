"""The reranker that was trained gives the engine's P(Yes), though a sound's candidates run behind one prefix."""

import numpy as np
import pytest
import torch

import harken
from harken.engine.recipes.rerank import get_rerank_recipe
from harken.training.data import Row
from harken.training.features import tower_encoder
from harken.training.lora import LoraSettings
from harken.training.models.backbone import open_backbone
from harken.training.models.reranker import Pair, TrainableReranker

from ... import tiny, tolerances
from ..runs import write_sounds

TEXTS = ["a dog barks", "rain", "music over a passing car"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80, tied=True)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = write_sounds(tmp_path_factory.mktemp("sounds"), 3, 2)
    return [Row(str(i), folder / f"{i}.wav") for i in range(3)]


@pytest.mark.parametrize("recipe", ["mini-rerank", "aurola-rerank"])
@pytest.mark.parametrize("direction", ["a2t", "t2a"])
def test_the_engine_gives_the_scores_that_were_trained(recipe, direction, model, rows, tmp_path):
    settings = LoraSettings(rank=4, whole_projector=True)
    backbone = open_backbone(model, dtype=torch.float32)
    trained = TrainableReranker(backbone, get_rerank_recipe(recipe), settings, max_tokens=600)
    with torch.no_grad():
        for parameter in trained.trainable().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    trained.after_step()
    trained.eval().save(tmp_path)
    heard = list(tower_encoder(model)(rows))
    with torch.no_grad():
        pairs = [Pair(f, text, direction) for f in heard for text in TEXTS]
        ours = trained(pairs).softmax(-1)[:, 0].numpy()
    served = harken.load_reranker(model, adapter=tmp_path, recipe=recipe, dtype="float32", device="cpu")
    asked = [(row.audio, text) if direction == "a2t" else (text, row.audio) for row in rows for text in TEXTS]
    np.testing.assert_allclose(served.predict(asked, direction=direction), ours, atol=tolerances.P_YES_FP32)
    assert np.ptp(ours) > 0.01


def test_what_is_told_are_the_tokens_behind_the_sound(model, rows):
    backbone = open_backbone(model, dtype=torch.float32)
    trained = TrainableReranker(backbone, get_rerank_recipe("mini-rerank"), LoraSettings(rank=4), max_tokens=600).eval()
    heard = list(tower_encoder(model)(rows))
    pairs = [Pair(f, text) for f in heard for text in TEXTS]
    with torch.no_grad():
        logits, told = trained.answer_and_tell(pairs, [1, 5])
        wanted = []
        for pair in (pairs[1], pairs[5]):
            prompt = trained._prompts.split("a2t", pair.text, len(pair.features))
            ids = torch.tensor([prompt.prefix.token_ids + prompt.suffix.token_ids])
            start, num_audio = prompt.prefix.audio_span
            is_audio = torch.zeros(ids.shape, dtype=torch.bool)
            is_audio[0, start : start + num_audio] = True
            hidden = backbone.hidden(ids, is_audio, backbone.audio_rows([pair.features]))[0]
            log = (hidden @ backbone.output_rows.T).log_softmax(-1)
            first = len(prompt.prefix)
            wanted.append(-np.mean([float(log[i - 1, ids[0, i]]) for i in range(first, ids.shape[1])]))
        assert float(told) == pytest.approx(np.mean(wanted), rel=1e-5)
        torch.testing.assert_close(logits, trained(pairs))
        assert float(trained.answer_and_tell(pairs, ())[1]) == 0


def test_a_sound_that_comes_second_is_not_told(model, rows):
    backbone = open_backbone(model, dtype=torch.float32)
    trained = TrainableReranker(
        backbone, get_rerank_recipe("aurola-rerank"), LoraSettings(rank=4), max_tokens=600
    ).eval()
    sound = next(iter(tower_encoder(model)(rows)))
    heard, asked = Pair(sound, TEXTS[0], "a2t"), Pair(sound, TEXTS[1], "t2a")
    with torch.no_grad():
        told = float(trained.answer_and_tell([heard, asked], [0])[1])
        assert told > 0 and float(trained.answer_and_tell([heard, asked], [1])[1]) == 0
        assert float(trained.answer_and_tell([heard, asked], [0, 1])[1]) == pytest.approx(told)
