"""Two passes give the gradient of one; two processes give the run of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harken.training.grad_cache import backward
from harken.training.loop import Loop
from harken.training.losses import Temperature, masked_bidirectional
from harken.training.stages import make_task

from .. import tiny
from .runs import losses, settings, write_sounds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_two_passes_give_the_gradient_of_one(dropout, checkpoint, sounds, tmp_path):
    made = settings(
        checkpoint,
        sounds,
        tmp_path,
        features=str(sounds / "features"),
        batch=dict(batch_size=6),
        lora=dict(dropout=dropout, head_dropout=dropout),
        run=dict(max_tokens=60),
    )
    task = make_task(made)
    task.start()
    task.after_step()
    pairs = task.source.draw(0, slice(0, 6))
    # A text twice: it is run once, and its gradient comes from both.
    right = [*pairs.right[:5], pairs.right[0]]
    temperature = Temperature(0.1)
    found = []
    for two_passes in (False, True):
        task.model.zero_grad()
        temperature.zero_grad()
        task.model.train()
        loss = lambda a, t: masked_bidirectional(a, t, temperature())
        value, _, _ = backward(task.model, pairs.left, right, loss, two_passes=two_passes, seed=(2**31, 5, 1))
        named = {**task.model.trainable(), "tau": temperature.log_scale}
        found.append((value, {name: p.grad.clone() for name, p in named.items()}))
    assert len(task.model.groups(pairs.left)) > 1
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert sum(float(g.abs().sum()) > 0 for g in found[0][1].values()) > 10


def test_two_processes_give_the_losses_of_one(checkpoint, sounds, tmp_path):
    changes = dict(
        features=str(sounds / "features"),
        loss=dict(name="masked-bidirectional", learn_tau=True),
        run=dict(validate_every=3, max_tokens=60),
        optim=dict(num_steps=3, max_grad_norm=1.0),
    )
    alone = settings(checkpoint, sounds, tmp_path / "one", **changes)
    Loop(make_task(alone), alone).go()
    file = tmp_path / "two.json"
    file.write_text(json.dumps(settings(checkpoint, sounds, tmp_path / "two", **changes).to_dict()))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*torchrun, "-m", "harken.training.run", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert sorted(one) == [1, 2, 3] and two == pytest.approx(one, rel=1e-4)
    states = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["trainable"] for n in ("one", "two")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-4)
