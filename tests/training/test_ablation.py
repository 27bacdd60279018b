"""A table of runs: settings merged, each run done once, means over the seeds."""

import json

import pytest

from harken.errors import InputError
from harken.training.ablation import as_table, main, merge, read_ablation, run
from harken.training.loop import Loop
from harken.training.stages import make_task

from .. import tiny
from .runs import settings, write_sounds


def test_changes_are_merged_and_whole_objects_can_be_put_in_place():
    values = {"batch": {"batch_size": 4, "kinds": {"long": 1.0}}, "seed": 0}
    assert merge(values, {"batch": {"batch_size": 8}}) == {
        "batch": {"batch_size": 8, "kinds": {"long": 1.0}},
        "seed": 0,
    }
    assert merge(values, {"batch": {"kinds=": {"tags": 1.0}}})["batch"]["kinds"] == {"tags": 1.0}
    assert values["batch"]["batch_size"] == 4


def test_the_table_is_means_and_deviations_of_the_recalls():
    found = {"one": [{"a R@1": 0.1, "score": 1.0}, {"a R@1": 0.3, "score": 1.0}]}
    assert as_table(found).splitlines() == ["| row | a R@1 |", "|---|---|", "| one | 20.0 ± 14.1 |"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two rows of the heads stage on a tiny model's adapter."""
    folder = tmp_path_factory.mktemp("table")
    model = tiny.qwen2_audio(folder / "model", text="llama", num_mels=80)
    sounds = write_sounds(folder / "sounds")
    cache = str(folder / "features")
    first = settings(model, sounds, folder / "first", features=cache, optim=dict(num_steps=1))
    Loop(make_task(first), first).go()
    base = settings(
        model,
        sounds,
        folder / "unused",
        features=cache,
        stage="heads",
        init=str(folder / "first/adapter"),
        data=dict(states=str(folder / "states.npz")),
    )
    (folder / "base.json").write_text(json.dumps(base.to_dict()))
    rows = {"as it is": {}, "tags alone": {"batch": {"kinds=": {"tags": 1.0}}}}
    (folder / "table.json").write_text(json.dumps({"settings": "base.json", "seeds": [0, 1], "rows": rows}))
    return folder / "table.json"


def test_runs_are_done_once_and_those_that_are_gone_come_out_the_same(table, tmp_path, capsys):
    assert main([str(table), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| as it is | " in printed and "| tags alone | " in printed
    done = json.loads((tmp_path / "results.json").read_text())
    assert len(done) == 4 and (table.parent / "states.npz").is_file()
    log = tmp_path / "as-it-is-seed-0" / "log.jsonl"
    lines = log.read_text()
    # A run of which only the note is lost is not run again; its numbers are those of its log.
    (tmp_path / "results.json").write_text(json.dumps({k: v for k, v in done.items() if k != "as it is, seed 0"}))
    found = run(read_ablation(table), tmp_path)
    assert found["as it is"][0] == done["as it is, seed 0"] and log.read_text() == lines
    losses = [json.loads(line)["loss"] for line in lines.splitlines() if "loss" in line]
    other = (tmp_path / "as-it-is-seed-1" / "log.jsonl").read_text()
    assert losses != [json.loads(line)["loss"] for line in other.splitlines() if "loss" in line]


def test_a_wrong_table_is_told(table, tmp_path, capsys):
    wrong = tmp_path / "table.json"
    wrong.write_text("{}")
    with pytest.raises(InputError, match="wanted an object of settings, seeds and rows"):
        read_ablation(wrong)
    values = json.loads(table.read_text()) | {"rows": {"bad": {"bach": 1}}, "settings": str(table.parent / "base.json")}
    wrong.write_text(json.dumps(values))
    assert main([str(wrong), "--out", str(tmp_path / "out")]) == 2
    assert "bad, seed 0: unknown keys ['bach']" in capsys.readouterr().err
