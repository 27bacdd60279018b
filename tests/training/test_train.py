"""A run on a tiny checkpoint: merged LoRA is peft's LoRA, a stopped run goes on as if it had not, the adapter is served."""

import json

import numpy as np
import pytest
import soundfile
import torch
from peft import PeftModel
from transformers import Qwen2AudioForConditionalGeneration

import harken
from harken.engine.recipes import get_recipe
from harken.errors import InputError
from harken.training import lora
from harken.training.batches import BatchPlan
from harken.training.data import Clip
from harken.training.embed import load_adapter
from harken.training.features import tower_encoder
from harken.training.model import TrainableEmbedder
from harken.training.train import Run, Settings, schedule

from .. import tiny, tolerances

SETTINGS = Settings(
    num_steps=4, rank=4, num_whitening=8, validate_every=2, warmup_steps=1, batch=BatchPlan(batch_size=4, max_tokens=12)
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On a busy machine two threads wait for each other at every one of many small products."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80)


def embedder(checkpoint) -> TrainableEmbedder:
    return TrainableEmbedder(checkpoint, get_recipe("harken-mini"), rank=4, dtype=torch.float32, max_tokens=64)


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {str(i): rng.standard_normal((5 + i, 64)).astype(np.float16) for i in range(14)}


def clips(tmp_path, start: int, stop: int) -> list[Clip]:
    return [Clip(str(i), tmp_path, f"sound {i}", (f"sound {i}",), ("dog",), "g", "train") for i in range(start, stop)]


def losses(folder) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def run(checkpoint, features, folder, settings=SETTINGS) -> Run:
    return Run(embedder(checkpoint), clips(folder, 0, 10), clips(folder, 10, 14), features, settings, folder)


@pytest.fixture(scope="module")
def whole(checkpoint, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(checkpoint, features, folder).go()
    return folder


def test_merged_lora_has_the_values_and_gradients_of_peft(checkpoint):
    model = embedder(checkpoint)
    layer = lora.lora_layers(model)[0]
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    lora.merge(model)
    x = torch.randn(2, 7, layer.base_layer.in_features, requires_grad=True)
    wanted = [x, layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    results = []
    for forward in (layer.forward, lambda x: type(layer).forward(layer, x)):
        y = forward(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
    for ours, peft in zip(*results):
        torch.testing.assert_close(ours, peft, rtol=1e-4, atol=1e-4)


def test_a_stopped_run_goes_on_with_the_same_losses(checkpoint, features, whole, tmp_path, monkeypatch):
    stopped = run(checkpoint, features, tmp_path)
    step = stopped._train_step
    monkeypatch.setattr(stopped, "_train_step", lambda: step() if stopped.step < 3 else pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception):
        stopped.go()
    resumed = run(checkpoint, features, tmp_path)
    assert resumed.step == 2
    resumed.go()
    assert losses(tmp_path) == losses(whole) and len(losses(whole)) == 4


def test_a_run_with_other_settings_does_not_go_on(checkpoint, features, whole):
    with pytest.raises(InputError, match="num_steps"):
        run(checkpoint, features, whole, Settings(num_steps=5, batch=SETTINGS.batch))


def test_the_adapter_gives_the_same_vectors_in_peft_and_in_the_engine(checkpoint, whole, tmp_path):
    sounds = [Clip(str(n), tmp_path / f"{n}.wav", "x", ("x",), (), "g", "val") for n in (4000, 16000)]
    for clip in sounds:
        soundfile.write(clip.path, tiny.wave(int(clip.id)), 16000, subtype="FLOAT")
    served = harken.load(checkpoint, recipe="harken-mini", adapter=whole / "adapter", dtype="float32", device="cpu")
    base = Qwen2AudioForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, whole / "adapter").merge_and_unload()
    theirs = adapted.model.language_model.get_submodule("layers.1.mlp.down_proj").weight
    ours = dict(served.model.decoder.named_parameters())["layers.1.down.weight"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    trained = embedder(checkpoint)
    load_adapter(trained, str(whole / "adapter"))
    with torch.no_grad():
        text = trained.text(["a dog barks", "rain"]).numpy()
        audio = trained.audio(list(tower_encoder(checkpoint)(sounds))).numpy()
    np.testing.assert_allclose(served.encode_text(["a dog barks", "rain"]), text, atol=tolerances.VECTOR_FP32)
    np.testing.assert_allclose(served.encode_audio([c.path for c in sounds]), audio, atol=tolerances.VECTOR_FP32)


def test_too_few_clips_are_refused(checkpoint, features, tmp_path):
    with pytest.raises(InputError, match="3 clips to train on"):
        Run(embedder(checkpoint), clips(tmp_path, 0, 3), [], features, SETTINGS, tmp_path)


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    values = [schedule(step, 100, 10) for step in range(100)]
    assert values[0] == 0.1 and max(values) == 1 and abs(values[99] - 0.01) < 1e-3
    assert all(a >= b for a, b in zip(values[10:], values[11:]))
