"""What was trained is what is served: by the engine, and by peft alone, for each backbone; merged LoRA is peft's LoRA."""

import numpy as np
import pytest
import torch
from peft import PeftModel

import harken
from harken.engine.recipes import get_recipe
from harken.errors import InputError, ModelError
from harken.training.data import Row
from harken.training.features import tower_encoder
from harken.training.listening import LiveMels
from harken.training.lora import LoraSettings, lora_layers
from harken.training.models.backbone import open_backbone
from harken.training.models.embedder import TrainableEmbedder
from harken.training.models.prompts import Input

from ... import tiny, tiny_midasheng, tolerances
from ..runs import write_sounds

TEXTS = ["a dog barks", "rain", "music over a passing car"]
# Checkpoint, recipe, what is trained: the parts of the published systems at a small rank.
SYSTEMS = {
    "mini": ("qwen2_audio", "harken-mini", dict(parts=("decoder",), whole_projector=True)),
    "oea": ("omni", "oea-qwen3b", dict(parts=("decoder-attention", "tower-attention"), head_dropout=0.1)),
    "aurola": ("omni", "aurola-3b", dict(parts=("decoder", "tower"), dropout=0.05)),
    "alm2vec": ("midasheng", "alm2vec", dict(parts=("decoder-qkv", "projector"), dropout=0.05)),
    "mini-tower": ("qwen2_audio", "harken-mini", dict(parts=("decoder", "tower"), whole_projector=True)),
    "alm2vec-tower": ("midasheng", "alm2vec", dict(parts=("decoder-qkv", "tower", "projector"), dropout=0.05)),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "qwen2_audio": tiny.qwen2_audio(folder / "qwen2_audio", text="llama", num_mels=80),
        "omni": tiny.omni(folder / "omni", "thinker"),
        "midasheng": tiny_midasheng.midasheng(folder / "midasheng"),
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = write_sounds(tmp_path_factory.mktemp("sounds"), 3, 2)
    return [Row(str(i), folder / f"{i}.wav") for i in range(3)]


def open_system(checkpoints, name: str, **changes) -> TrainableEmbedder:
    kind, recipe, lora = SYSTEMS[name]
    settings = LoraSettings(**{"rank": 4, "head_dim": 16, **lora, **changes})
    backbone = open_backbone(
        checkpoints[kind],
        dtype=torch.float32,
        trains_tower=any(part.startswith("tower") for part in settings.parts),
    )
    return TrainableEmbedder(backbone, get_recipe(recipe), settings, max_tokens=400)


def trained(model: TrainableEmbedder) -> TrainableEmbedder:
    """LoRA that does something: B is not zero, the heads are not as drawn."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if "lora_B" in name or "heads" in name or "projector" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.after_step()
    return model.eval()


def features(model: TrainableEmbedder, rows) -> list[np.ndarray]:
    folder = model.backbone.folder
    return LiveMels(folder).of(rows) if model.backbone.trains_tower else list(tower_encoder(folder)(rows))


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_engine_gives_the_vectors_that_were_trained(name, checkpoints, rows, tmp_path):
    model = trained(open_system(checkpoints, name))
    model.save(tmp_path)
    served = harken.load(
        checkpoints[SYSTEMS[name][0]], recipe=SYSTEMS[name][1], adapter=tmp_path, dtype="float32", device="cpu"
    )
    with torch.no_grad():
        text = model([Input(text=t) for t in TEXTS]).numpy()
        audio = model([Input(features=f) for f in features(model, rows)]).numpy()
    # Two heads of OEA stand behind a norm that the engine, as published, takes before them too.
    np.testing.assert_allclose(served.encode_text(TEXTS), text, atol=tolerances.TRAINED_VECTOR[name])
    np.testing.assert_allclose(
        served.encode_audio([row.audio for row in rows]), audio, atol=tolerances.TRAINED_VECTOR[name]
    )


@pytest.mark.parametrize("name", ["mini", "aurola"])
def test_peft_alone_loads_the_adapter_and_gives_the_same_weights(name, checkpoints, tmp_path):
    model = trained(open_system(checkpoints, name))
    model.save(tmp_path)
    fresh = open_backbone(checkpoints[SYSTEMS[name][0]], dtype=torch.float32, trains_tower=name == "aurola").model
    merged = PeftModel.from_pretrained(fresh, tmp_path).merge_and_unload().state_dict()
    base_of = {n.replace("base_model.model.", ""): layer for n, layer in model.peft.named_modules()}
    checked = 0
    for layer_name, layer in base_of.items():
        if layer in lora_layers(model.peft):
            delta = layer.get_delta_weight("default")
            torch.testing.assert_close(merged[f"{layer_name}.weight"], layer.base_layer.weight + delta)
            checked += 1
    assert checked == len(lora_layers(model.peft)) > 10


def test_merged_lora_has_the_values_and_gradients_of_peft(checkpoints):
    model = trained(open_system(checkpoints, "aurola", dropout=0.0))
    for layer in lora_layers(model.peft)[:2] + lora_layers(model.peft)[-1:]:
        x = torch.randn(2, 7, layer.base_layer.in_features, requires_grad=True)
        wanted = [x, layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        results = []
        for forward in (layer.forward, lambda x, layer=layer: type(layer).forward(layer, x)):
            y = forward(x)
            results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
        for ours, peft in zip(*results):
            torch.testing.assert_close(ours, peft, rtol=1e-4, atol=1e-4)


def test_lora_sits_where_the_papers_put_it(checkpoints):
    def suffixes(name):
        peft = open_system(checkpoints, name).peft
        layers = lora_layers(peft)
        return {n.split(".")[-1] for n, module in peft.named_modules() if module in layers}

    assert suffixes("oea") == {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj"}
    tower = {"out_proj", "fc1", "fc2", "proj"}
    assert suffixes("aurola") == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} | tower
    assert suffixes("alm2vec") == {"q_proj", "k_proj", "v_proj", "0", "2"}


def test_a_saved_adapter_is_taken_over_and_one_of_another_rank_is_not(checkpoints, tmp_path):
    model = trained(open_system(checkpoints, "mini"))
    model.save(tmp_path)
    again = open_system(checkpoints, "mini")
    again.load(tmp_path)
    with torch.no_grad():
        ours, theirs = (m.eval()([Input(text=t) for t in TEXTS]) for m in (again, model))
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(ModelError, match="other layers or ranks"):
        open_system(checkpoints, "mini", rank=8).load(tmp_path)
    with pytest.raises(ModelError, match="no adapter"):
        again.load(tmp_path / "nowhere")


def test_vectors_do_not_depend_on_their_neighbours(checkpoints, rows):
    model = trained(open_system(checkpoints, "alm2vec"))
    heard = features(model, rows)
    inputs = [Input(text="What is it?", features=f, instruction="Listen.") for f in heard]
    with torch.no_grad():
        together = model(inputs)
        alone = torch.cat([model([one]) for one in inputs])
        plain = model([Input(features=f) for f in heard])
    torch.testing.assert_close(together, alone, rtol=0, atol=tolerances.VECTOR_FP32)
    assert (together - plain).abs().max() > 1e-3


def test_parts_and_inputs_that_a_model_has_not_are_named(checkpoints):
    with pytest.raises(ModelError, match="'wings'"):
        open_system(checkpoints, "mini", parts=("wings",))
    with pytest.raises(InputError, match="no template for both"):
        open_system(checkpoints, "oea").prompt(Input(text="x", features=np.zeros((8, 128), np.float32)))
