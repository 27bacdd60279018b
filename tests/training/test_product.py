"""The product beside a joint reranker: its parts against what they stand for, and a run's product as the engine serves it."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import harken
from harken.engine.cli.output import WRONG_INPUT, run_module
from harken.engine.rerank.product import FILE
from harken.errors import InputError, ModelError
from harken.training import product
from harken.training.data import Row
from harken.training.loop import Loop
from harken.training.models.heads import Standardised, Whitened
from harken.training.models.joint_layers import Heard
from harken.training.models.two_sided import Told, TwoSided, learn
from harken.training.stages import make_task

from .runs import joint_settings, write_joint_run


def test_whitened_states_have_unit_variance_and_no_axis_without_any():
    drawn = torch.randn(500, 6) @ torch.randn(6, 9) * 7 + 30
    white = Whitened(drawn, 9)
    assert white.axes.shape == (6, 9)
    y = white(drawn).double()
    torch.testing.assert_close(y.mean(0), torch.zeros(6).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.T @ y / len(y), torch.eye(6).double(), atol=1e-3, rtol=0)
    few = Whitened(drawn, 2)
    torch.testing.assert_close(few.axes, white.axes[-2:])


@pytest.mark.parametrize("kind", [Standardised, lambda x: Whitened(x, 5)])
def test_a_side_becomes_one_layer(kind):
    torch.manual_seed(0)
    x = torch.randn(300, 5) * torch.tensor([0.3, 1.0, 3.0, 10.0, 300.0]) + torch.tensor([0.0, 5.0, -2.0, 0.0, 900.0])
    side, layer = kind(x), nn.Linear(5, 4)
    one = product._as_one("sound", side, layer)
    assert one["sound.weight"].dtype == torch.float16
    got = F.linear(x, one["sound.weight"].float(), one["sound.bias"])
    torch.testing.assert_close(got, layer(side(x)), atol=5e-3, rtol=0)


def test_sides_learn_from_the_kinds_of_text_that_are_asked_for():
    torch.manual_seed(0)
    rows = [Row(str(i), None, short=(f"text {i}",)) for i in range(12)]
    told = Told(rows, torch.eye(12), {row.short[0]: i for i, row in enumerate(rows)}, torch.eye(12).flip(0))
    model = TwoSided(nn.Linear(12, 8), nn.Linear(12, 8))

    def run(kinds: dict[str, float], steps: int) -> None:
        learn(model, told, range(12), 0.07, kinds, seed=0, purpose=0, steps=steps, advance=lambda _: None)

    run({"short": 1.0}, 300)
    with torch.no_grad():
        sounds, texts = model(told.sounds_NF, told.texts_MG)
    assert ((sounds @ texts.T).argmax(1) == torch.arange(12)).all()
    with pytest.raises(InputError, match="has no text of the kinds"):
        run({"long": 1.0}, 1)


def test_odds_are_those_of_logistic_regression_with_both_kinds_equally_heavy():
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(60_000, 2))
    right = rng.random(len(terms)) < 1 / (1 + np.exp(-(1.5 * terms[:, 0] - 0.5 * terms[:, 1] - 3)))
    first, second, offset = product.fit_odds(terms, right)
    # As many right as wrong ones add the log of their ratio to the offset.
    prior = np.log(right.mean() / (1 - right.mean()))
    assert (first, second) == pytest.approx((1.5, -0.5), abs=0.06) and offset + prior == pytest.approx(-3, abs=0.1)
    apart = product.fit_odds(np.array([[-1.0], [1.0]]), np.array([False, True]))
    assert np.isfinite(apart).all() and apart[0] > 3
    with pytest.raises(InputError, match="2 of 2 validation pairs are right"):
        product.fit_odds(np.zeros((2, 1)), np.array([True, True]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A joint reranker's settings after its training."""
    folder = tmp_path_factory.mktemp("product")
    write_joint_run(folder, product=True)
    made = joint_settings(folder, folder / "run", optim=dict(num_steps=3, lr=0.02))
    (folder / "run.json").write_text(json.dumps(made.to_dict()))
    Loop(make_task(made), made).go()
    return folder, made


def test_a_run_is_served_with_its_product(run, monkeypatch, capsys):
    folder, made = run
    adapter = folder / "run/adapter"

    def load() -> harken.Reranker:
        return harken.load_reranker(
            folder / "model", adapter=adapter, recipe=made.recipe, dtype="float32", device="cpu"
        )

    with pytest.raises(ModelError, match=rf"there is no {FILE}; make it with"):
        load()
    monkeypatch.setattr(product, "STEPS", 40)
    assert product.main([str(folder / "run.json")]) == 0
    assert "recall@1 of validation, both ways: joint " in capsys.readouterr().out

    t = load_file(adapter / FILE)
    task = make_task(made)
    task.model.load(adapter)
    task.model.eval()
    texts = [row.captions[0] for row in task.val]
    tokens = [product._listener(task, made)([row])[0] for row in task.val]
    spread = [own @ t["spread"].float().T for own in tokens]
    said = [torch.from_numpy(np.array(task.texts[text], np.float32)) for text in texts]
    a = torch.stack([torch.cat([own.mean(0), own.std(0, correction=0)]) for own in spread])
    b = torch.stack([torch.cat([own.mean(0), own[-1]]) for own in said])
    a = F.normalize(F.linear(a, t["sound.weight"].float(), t["sound.bias"]), dim=-1)
    b = F.normalize(F.linear(b, t["text.weight"].float(), t["text.bias"]), dim=-1)
    with torch.no_grad():
        joint = task.odds([Heard.whole(task.sounds[row.id]) for row in task.val], [task.texts[text] for text in texts])
    gain, scale, offset = t["odds"].tolist()
    want = torch.sigmoid(gain * joint + scale * a @ b.T + offset).flatten().numpy()
    asked = [(row.audio, text) for row in task.val for text in texts]
    # States are kept in float16.
    np.testing.assert_allclose(load().predict(asked, direction="a2t"), want, atol=5e-3)
    assert np.ptp(want) > 0.05


def test_as_a_module_what_is_wrong_is_one_line(capsys, tmp_path):
    def main() -> int:
        return product.main([str(tmp_path / "none.json")])

    with pytest.raises(SystemExit) as ended:
        run_module(main)
    told = capsys.readouterr().err
    assert ended.value.code == WRONG_INPUT and told.startswith("harken: ") and told.count("\n") == 1
    assert "none.json: cannot be read as settings" in told
