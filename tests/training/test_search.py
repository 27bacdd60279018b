"""A search goes on where it stopped, cuts trials short that lie below the median, and trains what it suggests."""

import json

import pytest

from harken.errors import InputError
from harken.training.search import search

from .. import tiny_clap
from .runs import settings, write_sounds


@pytest.fixture
def base(tmp_path):
    made = settings(tmp_path / "clap", tmp_path, tmp_path / "run", stage="robust-atr", recipe="robust-atr")
    path = tmp_path / "base.json"
    path.write_text(json.dumps(made.to_dict()))
    return path


def test_a_stopped_search_goes_on_and_runs_the_interrupted_trial_again(base, tmp_path):
    seen = []

    def objective(made, told):
        seen.append(made)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return -abs(made.optim.lr - 1e-3)

    with pytest.raises(KeyboardInterrupt):
        search(base, tmp_path / "study.db", 5, objective)
    best = search(base, tmp_path / "study.db", 5, objective)
    assert seen[3].optim == seen[2].optim and seen[3].robust == seen[2].robust
    assert len(seen) == 6 and best.value == max(-abs(m.optim.lr - 1e-3) for m in seen if m is not seen[2])
    search(base, tmp_path / "study.db", 5, objective)
    assert len(seen) == 6
    assert all(abs(sum(made.loss.weights) - 1) < 1e-9 and min(made.loss.weights) >= 0 for made in seen)


def test_a_trial_below_the_median_is_cut_short(base, tmp_path):
    steps = []

    def objective(made, told):
        number = int(made.out.rsplit("-", 1)[1])
        for step in (2, 4, 6):
            steps.append((number, step))
            told(step, 0.1 if number == 5 else 0.5)
        return 0.5

    search(base, tmp_path / "study.db", 7, objective)
    assert [step for number, step in steps if number == 5] != [2, 4, 6]
    assert [step for number, step in steps if number == 6] == [2, 4, 6]


def test_a_real_trial_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("harken.training.search.BATCH_SIZES", (4,))
    made = settings(
        tiny_clap.clap(tmp_path / "clap"),
        write_sounds(tmp_path / "sounds", 8, 5),
        tmp_path / "run",
        stage="robust-atr",
        recipe="robust-atr",
        num_whitening=0,
        optim=dict(num_steps=1),
    )
    path = tmp_path / "base.json"
    path.write_text(json.dumps(made.to_dict()))
    best = search(path, tmp_path / "study.db", 1)
    assert 0 <= best.value <= 1 and (tmp_path / "run/trial-0/adapter/model.safetensors").is_file()


def test_another_stage_is_refused(base, tmp_path):
    base.write_text(json.dumps({**json.loads(base.read_text()), "stage": "text"}))
    with pytest.raises(InputError, match="stage is 'text'"):
        search(base, tmp_path / "study.db", 1)
