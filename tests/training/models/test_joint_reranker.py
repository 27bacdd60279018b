"""The joint reranker gives the engine's P(Yes), though a batch's texts stand behind one sound and lower states are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import harken
from harken.engine.recipes.rerank import get_rerank_recipe
from harken.errors import ModelError
from harken.training.data import Row
from harken.training.features import tower_encoder
from harken.training.lora import LoraSettings
from harken.training.models.backbone import merge_adapter, open_backbone
from harken.training.models.joint_layers import Heard
from harken.training.models.joint_reranker import JointReranker

from ... import tiny, tolerances
from ..runs import write_sounds

TEXTS = ["a dog barks", "rain", "music over a passing car"]
RECIPE = replace(get_rerank_recipe("mini-rerank"), joint_from=1, product=False)
LORA = LoraSettings(rank=4, from_layer=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80, tied=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    sounds = write_sounds(tmp_path_factory.mktemp("sounds"), 3, 2)
    return [Row(str(i), sounds / f"{i}.wav") for i in range(3)]


def shaken(model, seed: int):
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    model.after_step()
    return model.eval()


@pytest.fixture(scope="module")
def trained(folder):
    return shaken(JointReranker(open_backbone(folder, dtype=torch.float32), RECIPE, LORA, max_tokens=300), 1)


@torch.no_grad()
def scores(model, features) -> np.ndarray:
    sounds = [Heard.whole(states) for states in model.sound_states(features)]
    return model(sounds, model.text_states(TEXTS)).softmax(-1)[..., 0].flatten().numpy()


def test_the_engine_gives_the_scores_that_were_trained(folder, rows, trained, tmp_path):
    trained.save(tmp_path)
    ours = scores(trained, list(tower_encoder(folder)(rows)))
    served = harken.load_reranker(folder, adapter=tmp_path, recipe=RECIPE, dtype="float32", device="cpu")
    asked = [(row.audio, text) for row in rows for text in TEXTS]
    np.testing.assert_allclose(served.predict(asked, direction="a2t"), ours, atol=tolerances.P_YES_FP32)
    assert np.ptp(ours) > 0.01


def test_lora_sits_on_the_upper_layers_alone(folder, trained, rows):
    assert {name.split(".layers.")[1][0] for name in trained.trainable()} == {"1", "2"}
    plain = JointReranker(open_backbone(folder, dtype=torch.float32), RECIPE, LORA)
    features = list(tower_encoder(folder)(rows))
    for ours, theirs in zip(trained.sound_states(features), plain.sound_states(features)):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    with pytest.raises(ModelError, match="lora.from_layer is 0 .* wanted 1 or more"):
        JointReranker(open_backbone(folder, dtype=torch.float32), RECIPE, replace(LORA, from_layer=0))
    with pytest.raises(ModelError, match="joint_from is 0; wanted 1 to 2"):
        JointReranker(open_backbone(folder, dtype=torch.float32), get_rerank_recipe("aurola-rerank"), LORA)


def test_a_thinned_sound_keeps_its_tokens_places(trained, rows, folder):
    (states,) = trained.sound_states([next(iter(tower_encoder(folder)(rows)))])
    heard = Heard.whole(states)
    thin = heard.thinned(5, np.random.default_rng(0))
    assert len(thin.states_LW) == len(thin.positions_L) == 5 and thin.num_tokens == len(states)
    assert thin.positions_L[0] == 0 and thin.positions_L[-1] == len(states) - 1
    np.testing.assert_array_equal(thin.states_LW, states[thin.positions_L])
    assert heard.thinned(None, np.random.default_rng(0)) is heard.thinned(10**6, np.random.default_rng(0)) is heard


def test_an_adapter_is_merged_beneath(folder, rows, trained, tmp_path):
    trained.save(tmp_path / "lower")
    backbone = open_backbone(folder, dtype=torch.float32)
    merge_adapter(backbone, tmp_path / "lower")
    over = JointReranker(backbone, RECIPE, LORA)
    features = list(tower_encoder(folder)(rows))
    np.testing.assert_allclose(scores(over, features), scores(trained, features), atol=tolerances.P_YES_FP32)
    shaken(over, 2).save(tmp_path / "upper")
    assert np.abs(scores(over, features) - scores(trained, features)).max() > 1e-3


def test_autocast_does_not_round_the_logits(trained, rows, folder):
    (sound,) = trained.sound_states([next(iter(tower_encoder(folder)(rows)))])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = trained([Heard.whole(sound)], trained.text_states(TEXTS))
    assert logits.dtype == torch.float32 and not torch.equal(logits, logits.bfloat16().float())
