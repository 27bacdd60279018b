"""`harken merge` writes a checkpoint that transformers loads and that has the states of the model with its adapter."""

import pytest
import torch
from transformers import Qwen2_5OmniThinkerForConditionalGeneration
from typer.testing import CliRunner

from harken.engine.cli.app import app
from harken.engine.recipes import get_recipe
from harken.training import commands_train
from harken.training.data import Row
from harken.training.listening import LiveMels
from harken.training.lora import LoraSettings
from harken.training.models.backbone import open_backbone
from harken.training.models.embedder import TrainableEmbedder
from harken.training.models.prompts import Input, pad_right

from .. import tiny, tolerances
from .runs import write_sounds


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    base = tiny.omni(folder / "base", "thinker")
    settings = LoraSettings(rank=4, alpha=8.0, dropout=0.1, parts=("decoder", "tower"))
    model = TrainableEmbedder(
        open_backbone(base, dtype=torch.float32, trains_tower=True), get_recipe("aurola-3b"), settings
    )
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    model.eval().save(folder / "adapter")
    sounds = write_sounds(folder / "sounds", 2, 1)
    mels = LiveMels(base).of([Row(str(i), sounds / f"{i}.wav") for i in range(2)])
    return folder, model, mels


def merged(folder, out, *more):
    assert commands_train.merge is not None
    adapter = ["--adapter", str(folder / "adapter"), "--recipe", "aurola-3b"]
    return CliRunner().invoke(app, ["merge", str(out), "--model", str(folder / "base"), *adapter, *more])


def test_transformers_gives_the_states_of_the_model_with_its_adapter(trained, tmp_path):
    folder, model, mels = trained
    result = merged(folder, tmp_path / "out")
    assert result.exit_code == 0, result.output
    theirs = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    prompts = [model.prompt(Input(features=mel)) for mel in mels]
    ids, _ = pad_right(prompts[:1])
    with torch.no_grad():
        wanted = model.states([Input(features=mels[0])])
        states = theirs.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=torch.from_numpy(mels[0].T)[None],
            feature_attention_mask=torch.ones(1, len(mels[0]), dtype=torch.long),
        ).last_hidden_state
    torch.testing.assert_close(states[:, -1], wanted, rtol=0, atol=tolerances.HIDDEN_FP32)


def test_bfloat16_is_the_float32_merge_cast_once(trained, tmp_path):
    from safetensors.torch import load_file

    folder, _, _ = trained
    for name, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        assert merged(folder, tmp_path / name, "--dtype", dtype).exit_code == 0
    fp32, bf16 = (load_file(tmp_path / name / "model.safetensors") for name in ("fp32", "bf16"))
    base = load_file(folder / "base/model.safetensors")
    assert all(torch.equal(bf16[key], fp32[key].bfloat16()) for key in fp32)
    assert sum(not torch.equal(fp32[key], base[key]) for key in fp32) > 20
