"""A run on a tiny checkpoint: a killed run goes on with the same losses, other settings are refused, it stops early."""

import json

import pytest
import torch

from harken.errors import InputError
from harken.training.config import OptimSettings
from harken.training.loop import Loop, schedule
from harken.training.stages import make_task

from .. import tiny
from .runs import losses, settings, write_sounds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"))


def run(checkpoint, sounds, out, **changes) -> Loop:
    made = settings(checkpoint, sounds, out, features=str(sounds / "features"), **changes)
    return Loop(make_task(made), made)


@pytest.fixture(scope="module")
def whole(checkpoint, sounds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(checkpoint, sounds, folder).go()
    return folder


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3])
def test_a_run_killed_at_any_step_goes_on_with_the_same_losses(at, checkpoint, sounds, whole, tmp_path, monkeypatch):
    stopped = run(checkpoint, sounds, tmp_path, run=dict(save_every=1))
    step = stopped.train_step

    def until():
        if stopped.step == at:
            raise Killed
        return step()

    monkeypatch.setattr(stopped, "train_step", until)
    with pytest.raises(Killed):
        stopped.go()
    resumed = run(checkpoint, sounds, tmp_path)
    assert resumed.step == at
    resumed.go()
    assert losses(tmp_path) == losses(whole) and sorted(losses(whole)) == [1, 2, 3, 4]
    ours, theirs = (torch.load(f / "checkpoint.pt", weights_only=True)["trainable"] for f in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_steps_behind_the_last_checkpoint_are_not_logged_twice(checkpoint, sounds, whole, tmp_path, monkeypatch):
    stopped = run(checkpoint, sounds, tmp_path)
    step = stopped.train_step
    monkeypatch.setattr(stopped, "train_step", lambda: step() if stopped.step < 3 else (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        stopped.go()
    assert run(checkpoint, sounds, tmp_path).step == 2
    run(checkpoint, sounds, tmp_path).go()
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 2, 3, 4, 4] and losses(tmp_path) == losses(whole)


def test_a_run_with_other_settings_does_not_go_on(checkpoint, sounds, whole):
    with pytest.raises(InputError, match="num_steps"):
        run(checkpoint, sounds, whole, optim=dict(num_steps=5))


def test_a_run_stops_when_validation_gets_no_better(checkpoint, sounds, tmp_path, monkeypatch):
    loop = run(checkpoint, sounds, tmp_path, run=dict(validate_every=1, patience=2))
    monkeypatch.setattr(loop.task, "validate", lambda: {"score": 0.5})
    loop.go()
    assert loop.step == 3


def test_the_plot_and_the_best_adapter_are_there_at_the_end(whole):
    assert (whole / "curves.png").stat().st_size > 1000
    assert {f.name for f in (whole / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "heads.safetensors",
    }


def test_too_few_rows_are_refused(checkpoint, sounds, tmp_path):
    with pytest.raises(InputError, match="10 rows to train on, wanted a batch of 12"):
        run(checkpoint, sounds, tmp_path, batch=dict(batch_size=12)).go()


def test_the_learning_rate_rises_then_falls_to_its_end():
    cosine = OptimSettings(num_steps=100, warmup_steps=10, final_lr=0.1)
    values = [schedule(step, cosine) for step in range(100)]
    assert values[0] == 0.1 and max(values) == 1 and abs(values[99] - 0.1) < 1e-3
    assert all(a >= b for a, b in zip(values[10:], values[11:]))
    assert schedule(99, OptimSettings(num_steps=100, schedule="constant")) == 1
