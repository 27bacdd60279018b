"""Recipes whose two parts meet in the upper layers: scores by transformers' own layers, lower ones run on each part alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import harken
from harken.engine.models.adapter import Adapter, open_adapter
from harken.engine.models.prefix import kv_bytes_per_token
from harken.engine.recipes.rerank import RerankRecipe
from harken.errors import ModelError

from .conftest import TEXTS
from .joint import RECIPE, answered, p_yes
from .use import close


@pytest.fixture(scope="module")
def loaded(joint_checkpoint):
    return harken.load_reranker(joint_checkpoint, recipe=RECIPE, device="cpu")


@pytest.mark.parametrize("joint_from", [1, 2])
def test_scores_are_those_of_parts_that_meet_late(joint_from, joint_checkpoint, joint_oracle, clips):
    model = harken.load_reranker(joint_checkpoint, recipe=replace(RECIPE, joint_from=joint_from), device="cpu")
    pairs = [(clip, text) for clip in clips[:3] for text in TEXTS]
    want = np.array([p_yes(answered(joint_oracle, clip, text, joint_from)) for clip, text in pairs])
    assert close(model.predict(pairs), want)
    assert close(model.predict([(text, clip) for clip, text in pairs]), want)
    assert np.ptp(want) > 0.02
    # It matters where they meet.
    assert not close([p_yes(answered(joint_oracle, *pairs[0], 3 - joint_from))], want[:1])


def test_a_text_runs_through_the_lower_layers_once(loaded, clips, monkeypatch):
    rows = [0, 0, 0]

    def counting(place, project):
        def counted(x_NW, *args):
            rows[place] += len(x_NW)
            return project(x_NW, *args)

        return counted

    for place, layer in enumerate(loaded.model.decoder.layers):
        monkeypatch.setattr(layer, "project", counting(place, layer.project))
    text = "bells that nothing else asks for"
    first = loaded.rank(text, clips[:3])
    num_tokens = [loaded._sounds.read(clip, "clip").num_tokens for clip in clips[:3]]
    prompts = [loaded._prompts.split("t2a", text, n) for n in num_tokens]
    sounds, own = sum(len(p.prefix) for p in prompts), len(prompts[0].suffix)
    assert rows == [sounds + own, sounds + own, sounds + 3 * own]
    again = loaded.rank(text, clips[:3])
    assert rows == [2 * sounds + own, 2 * sounds + own, 2 * sounds + 6 * own] and again == first


def test_only_the_upper_layers_keys_and_values_are_kept(loaded):
    config = loaded.model.decoder.config
    assert kv_bytes_per_token(config, torch.float32, 2) * config.num_layers == kv_bytes_per_token(config, torch.float32)
    num_tokens = loaded.model.tower.num_tokens(16000)
    prefix = len(loaded._prompts.split("a2t", "x", num_tokens).prefix)
    assert loaded.kv_bytes(1.0) == prefix * kv_bytes_per_token(config, torch.float32, 2)


def test_recipes_and_checkpoints_that_do_not_fit_are_refused(joint_checkpoint):
    with pytest.raises(ModelError, match="joint_from is 3; .* has 3 layers"):
        harken.load_reranker(joint_checkpoint, recipe=replace(RECIPE, joint_from=3), device="cpu")
    fields = dict(name="own", source="own", backbones=("qwen2_audio",), instruction="")
    for a2t, joint_from in (("{text}{meet}{audio}", 2), ("{audio}{text}", 2), ("{audio}{meet}{text}", 0)):
        with pytest.raises(ModelError, match="own.*joint_from is .*{meet}"):
            RerankRecipe(**fields, a2t_template=a2t, t2a_template=a2t, joint_from=joint_from)


def test_adapters_stand_one_upon_another(tmp_path):
    from peft import LoraConfig, get_peft_model

    names = []
    model = torch.nn.ModuleDict(
        {"layers": torch.nn.ModuleList([torch.nn.ModuleDict({"o_proj": torch.nn.Linear(8, 8)})])}
    )
    base = model["layers"][0]["o_proj"].weight.detach().clone()
    for i in range(2):
        torch.manual_seed(i)
        peft = get_peft_model(model, LoraConfig(r=2, lora_alpha=4 + i, target_modules=r"layers\.0\.o_proj"))
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.data.normal_()
        names.append(tmp_path / str(i))
        peft.save_pretrained(names[-1])
        model = peft.merge_and_unload()
    stack = open_adapter(names)
    got = stack.apply("decoder.layers.0.o_proj.weight", base)
    torch.testing.assert_close(got, model["layers"][0]["o_proj"].weight.data)
    stack.check_all_used()
    assert isinstance(open_adapter(names[0]), Adapter)
    untouched = open_adapter(names)
    untouched.apply("decoder.norm.weight", torch.ones(8))
    with pytest.raises(ModelError, match="no tensor of the checkpoint answers"):
        untouched.check_all_used()
