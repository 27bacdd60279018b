"""Checkpoints that do not fit are refused with the whole list of what is wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harken.engine.models.load import load_model
from harken.engine.models.names import canonical
from harken.errors import ModelError

from ... import tiny


@pytest.fixture
def folder(tmp_path):
    return tiny.qwen2_audio(tmp_path / "model")


def load(folder):
    return load_model(folder, dtype=torch.float32, device="cpu")


def test_missing_left_over_and_misshapen_tensors_are_all_listed(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["audio_tower.conv1.bias"]
    tensors["language_model.model.norm.weight"] = torch.ones(7)
    tensors["audio_tower.surprise"] = torch.ones(1)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load(folder)
    text = str(caught.value)
    assert "missing audio_tower.conv1.bias (64,)" in text
    assert "decoder.norm.weight has shape (7,), wanted (48,)" in text
    assert "left over audio_tower.surprise" in text


def test_shards_equal_one_file(folder):
    whole = load(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for (name, a), (_, b) in zip(whole.state_dict().items(), load(folder).state_dict().items()):
        assert torch.equal(a, b), name
    (folder / "b.safetensors").unlink()
    with pytest.raises(ModelError, match="b.safetensors is missing"):
        load(folder)


def test_a_damaged_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="model.safetensors: cannot be read as safetensors"):
        load(folder)


def test_pickles_are_not_loaded(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickles"):
        load(folder)


def test_an_unknown_architecture_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(ModelError, match="model_type is 'mamba'; harken runs"):
        load(folder)


def test_both_forms_of_the_rotary_base_are_read(folder):
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    text["rope_theta"] = 5000.0
    (folder / "config.json").write_text(json.dumps(config))
    old = load(folder).decoder.inverse_frequencies
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    (folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(old, load(folder).decoder.inverse_frequencies)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("thinker.model.layers.0.self_attn.q_proj.weight", "decoder.layers.0.self_attn.q_proj.weight"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "decoder.layers.0.mlp.up_proj.weight"),
        ("language_model.model.norm.weight", "decoder.norm.weight"),
        ("language_model.layers.3.input_layernorm.weight", "decoder.layers.3.input_layernorm.weight"),
        ("model.embed_tokens.weight", "decoder.embed_tokens.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("thinker.audio_tower.conv1.bias", "audio_tower.conv1.bias"),
        ("model.multi_modal_projector.linear.bias", "projector.bias"),
        ("thinker.visual.blocks.0.norm1.weight", None),
        ("talker.model.norm.weight", None),
        ("audio_tower.audio_bos_eos_token.weight", None),
    ],
)
def test_names_of_every_layout(name, wanted):
    assert canonical(name) == wanted
