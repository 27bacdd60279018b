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


@pytest.mark.parametrize("recipe", ["aurola-rerank-audio-first", "aurola-rerank"])
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
    got = served.predict(asked, direction=direction)
    np.testing.assert_allclose(got, ours, atol=tolerances.P_YES_FP32)
    np.testing.assert_allclose(np.log(got / (1 - got)), np.log(ours / (1 - ours)), atol=tolerances.LOG_ODDS_FP32)
    assert np.ptp(np.log(ours)) > 1
