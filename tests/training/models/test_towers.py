"""A tower that is trained hears what the engine's hears, gets transformers' gradients, learns, and is merged."""

import numpy as np
import pytest
import soundfile
import torch
from peft import PeftModel
from transformers import Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor
from typer.testing import CliRunner

from harken.engine.cli.app import app
from harken.engine.models.load import load_model
from harken.engine.recipes import get_recipe
from harken.errors import InputError, ModelError
from harken.training import commands_train
from harken.training.data import Row
from harken.training.listening import LiveMels
from harken.training.loop import Loop
from harken.training.lora import LoraSettings
from harken.training.models.backbone import open_backbone
from harken.training.models.embedder import TrainableEmbedder
from harken.training.models.prompts import Input, pad_right
from harken.training.stages import make_task

from ... import tiny, tiny_midasheng, tolerances
from ...engine.midasheng_reference import MiDashengReference
from ..runs import losses, settings, write_sounds

RECIPES = {"qwen2_audio": "qwen2-audio", "midasheng": "alm2vec"}
# Samples: short ones, every edge of a frame, a pair and a patch; a window of one patch; the ends of what is heard.
LENGTHS = {
    "qwen2_audio": [400, 641, 4000, 4160, 4161, 16000, 479680, 479681, 479840, 479841, 480000, 500000],
    "midasheng": [100, 3200, 3839, 4000, 4480, 16000, 161280, 161920, 162400, 163840, 330000],
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "qwen2_audio": tiny.qwen2_audio(folder / "qwen2_audio"),
        "midasheng": tiny_midasheng.midasheng(folder / "midasheng", layer_scale=True, projector_bias=False),
    }


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"))


def open_system(folder, kind: str, **changes) -> TrainableEmbedder:
    lora = LoraSettings(**{"rank": 4, "alpha": 8.0, "parts": ("tower", "projector"), **changes})
    backbone = open_backbone(folder, dtype=torch.float32, trains_tower=True)
    model = TrainableEmbedder(backbone, get_recipe(RECIPES[kind]), lora, max_tokens=400)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if "lora_B" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.after_step()
    return model.eval()


def wave_of(sounds, number: int) -> np.ndarray:
    return soundfile.read(sounds / f"{number}.wav", dtype="float32")[0]


def mels_of(folder, sounds, num: int = 2) -> list[np.ndarray]:
    return LiveMels(folder).of([Row(str(i), sounds / f"{i}.wav") for i in range(num)])


@pytest.mark.parametrize("kind", RECIPES)
def test_a_trained_tower_hears_what_the_engines_hears(kind, checkpoints):
    clips = [tiny.wave(length, i) for i, length in enumerate(LENGTHS[kind])]
    backbone = open_backbone(checkpoints[kind], dtype=torch.float32, trains_tower=True)
    listening = LiveMels(checkpoints[kind])
    served = load_model(checkpoints[kind], dtype=torch.float32, device="cpu")
    heard = [listening.frames(Row("x", None), clip) for clip in clips]
    with torch.no_grad():
        wanted, counts = served.audio_rows(served.features(clips))
        rows = torch.cat([backbone.audio_rows(heard[:6]), backbone.audio_rows(heard[6:])])
    assert tuple(map(backbone.num_tokens, heard)) == counts
    torch.testing.assert_close(rows, wanted, rtol=0, atol=tolerances.HIDDEN_FP32)


def grads_of(parameters: dict[str, torch.Tensor], loss: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values()))))


def assert_same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys() and len(ours) >= 8
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0
        difference = (ours[name] - gradient).abs().max() / gradient.abs().max()
        assert difference < tolerances.TOWER_GRADIENT, name


def test_qwen2_audio_has_the_gradients_of_plain_peft_on_transformers_graph(checkpoints, sounds, tmp_path):
    folder = checkpoints["qwen2_audio"]
    model = open_system(folder, "qwen2_audio", parts=("tower",))
    model.save(tmp_path)
    mels = mels_of(folder, sounds)
    direction = torch.randn(2, 48, generator=torch.Generator().manual_seed(3))
    trainable = {name.removeprefix("peft."): p for name, p in model.trainable().items()}
    ours = grads_of(trainable, (model.states([Input(features=mel) for mel in mels]) * direction).sum())

    plain = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    peft = PeftModel.from_pretrained(plain, tmp_path, is_trainable=True).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    loss = torch.zeros(())
    for i, mel in enumerate(mels):
        heard = extractor(wave_of(sounds, i), sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
        ids, _ = pad_right([model.prompt(Input(features=mel))])
        states = plain.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=heard["input_features"],
            feature_attention_mask=heard["attention_mask"],
        ).last_hidden_state
        loss = loss + (states.mean(1) * direction[i]).sum()
    theirs = {name: p for name, p in peft.named_parameters() if p.requires_grad}
    assert_same_gradients(ours, grads_of(theirs, loss))


def test_midasheng_has_the_gradients_of_the_published_graph(checkpoints, sounds):
    folder = checkpoints["midasheng"]
    model = open_system(folder, "midasheng", parts=("tower",))
    mels = mels_of(folder, sounds)
    trainable = model.trainable()
    rows = model.backbone.audio_rows(mels)
    direction = torch.randn(rows.shape, generator=torch.Generator().manual_seed(3))
    ours = grads_of(trainable, (rows * direction).sum())

    reference = MiDashengReference(folder)
    leaves = {name: p.detach().clone().requires_grad_() for name, p in trainable.items()}
    for name in [name for name in leaves if ".lora_A." in name]:
        key = name.removeprefix("peft.base_model.model.").replace(".lora_A.default", "")
        pair = leaves[name.replace("lora_A", "lora_B")] @ leaves[name]
        reference.weights[key] = reference.weights[key] + 8.0 / 4 * pair
    audio = MiDashengReference.audio.__wrapped__
    told = torch.cat([audio(reference, wave_of(sounds, i)) for i in range(2)])
    torch.testing.assert_close(rows, told, rtol=0, atol=tolerances.HIDDEN_FP32)
    assert_same_gradients(ours, grads_of(leaves, (told * direction).sum()))


@pytest.mark.parametrize("kind", RECIPES)
def test_recomputed_activations_give_the_same_gradients(kind, checkpoints, sounds):
    mels = mels_of(checkpoints[kind], sounds)
    found = []
    for recomputes in (False, True):
        model = open_system(checkpoints[kind], kind).train()
        if recomputes:
            model.backbone.checkpoint_layers()
        states = model.states([Input(features=mel) for mel in mels])
        found.append(grads_of(model.trainable(), states.square().sum()))
    assert_same_gradients(*found)


@pytest.mark.parametrize("kind", RECIPES)
def test_three_steps_of_the_tower_alone_lower_the_loss(kind, checkpoints, sounds, tmp_path):
    made = settings(
        checkpoints[kind],
        sounds,
        tmp_path,
        recipe=RECIPES[kind],
        num_whitening=0,
        # The same four pairs at every step.
        data=dict(
            train=[dict(dataset="manifest", path=str(write_sounds(tmp_path / "four", 4, 4)))],
            val=[dict(dataset="manifest", path=str(sounds), split="val")],
        ),
        batch=dict(max_rows=None, mask_probability=0.0, kinds={"tags": 1.0}),
        lora=dict(parts=["tower-attention"], whole_projector=False, rank=8),
        loss=dict(tau=0.5),
        optim=dict(lr=3e-3, num_steps=4, warmup_steps=0, schedule="constant"),
        run=dict(validate_every=4),
    )
    loop = Loop(make_task(made), made)
    loop.go()
    assert all("attn" in name and ".lora_" in name for name in loop.task.model.trainable())
    found = losses(tmp_path)
    assert found[4] < found[1]


def test_blanks_in_decibels_are_refused(checkpoints, sounds, tmp_path):
    made = settings(checkpoints["midasheng"], sounds, tmp_path, recipe="alm2vec", lora=dict(parts=["tower"]))
    with pytest.raises(InputError, match="mask_probability is 0.5; wanted 0"):
        make_task(made)


def test_a_checkpoint_whose_tower_lacks_a_tensor_is_refused(checkpoints, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["midasheng"], tmp_path / "model")
    tensors = load_file(tmp_path / "model/model.safetensors")
    tensors.pop("audio_encoder.blocks.1.attn.qkv.bias")
    save_file(tensors, tmp_path / "model/model.safetensors")
    with pytest.raises(ModelError, match=r"1 tensors of the tower .* first \['blocks.1.attn.qkv.bias'\]"):
        open_backbone(tmp_path / "model", dtype=torch.float32, trains_tower=True)


@pytest.mark.parametrize("kind", RECIPES)
def test_the_merged_checkpoint_has_the_states_of_the_model_with_its_adapter(kind, checkpoints, sounds, tmp_path):
    assert commands_train.merge is not None
    folder = checkpoints[kind]
    model = open_system(folder, kind, parts=("decoder", "tower", "projector"), dropout=0.1)
    model.save(tmp_path / "adapter")
    told = ["--model", str(folder), "--recipe", RECIPES[kind], "--adapter", str(tmp_path / "adapter")]
    result = CliRunner().invoke(app, ["merge", str(tmp_path / "out"), *told])
    assert result.exit_code == 0, result.output
    mel, wave = mels_of(folder, sounds, 1)[0], wave_of(sounds, 0)
    prompt = model.prompt(Input(features=mel))
    with torch.no_grad():
        wanted = model.states([Input(features=mel)])[0]
        if kind == "midasheng":
            # transformers has no class of this kind: the published model, written down from its description.
            reference = MiDashengReference(tmp_path / "out")
            x = reference.decoder.embed_tokens(torch.tensor([list(prompt.token_ids)]))
            first, count = prompt.audio_span
            x[0, first : first + count] = reference.audio(wave)
            states = reference.decoder(inputs_embeds=x, use_cache=False).last_hidden_state[0, -1]
        else:
            theirs = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
            heard = WhisperFeatureExtractor.from_pretrained(tmp_path / "out")(
                wave, sampling_rate=16000, return_tensors="pt", return_attention_mask=True
            )
            ids, _ = pad_right([prompt])
            states = (
                theirs.model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    input_features=heard["input_features"],
                    feature_attention_mask=heard["attention_mask"],
                )
                .last_hidden_state[0]
                .mean(0)
            )
    torch.testing.assert_close(states, wanted, rtol=0, atol=tolerances.HIDDEN_FP32)
