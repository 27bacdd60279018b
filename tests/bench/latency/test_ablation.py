"""Switching a part off costs time and nothing else, and leaves the model as it was."""

import json

import numpy as np
import pytest

from harken.bench.latency import ablation
from harken.bench.latency.workload import RATE_HZ, make_workload
from harken.engine.load import load

from ... import tiny

CLIPS = make_workload("mix", 3, seed=1).clips


@pytest.fixture(scope="module", params=["mean", "last"])
def model(request, tmp_path_factory):
    import harken

    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("model"))
    recipe = harken.Recipe.from_dict({**load(folder, recipe="qwen2-audio").recipe.to_dict(), "pooling": request.param})
    return load(folder, recipe=recipe, device="cpu")


def test_every_way_gives_the_same_vectors_and_leaves_no_trace(model):
    wanted = model.encode_audio([(clip, RATE_HZ) for clip in CLIPS])
    ways = ablation.make_ways(model, CLIPS)
    assert ("no shared beginning" in ways) == (model.recipe.pooling == "last")
    for name, way in ways.items():
        got = way()
        same = np.abs(got - wanted).max() < 1e-3
        assert same or name in ablation.HEARD, name
        assert np.array_equal(ways["all on"](), ways["all on"]())
    assert np.abs(ways["all on"]() - wanted).max() == 0


def test_a_hooked_part_really_runs(model, monkeypatch):
    logits, head = [], ablation.language_head
    monkeypatch.setattr(ablation, "language_head", lambda *given: logits.append(head(*given)))
    ways = ablation.make_ways(model, CLIPS)
    ways["all on"]()
    assert not logits
    ways["vocabulary"]()
    assert {made.shape[1] for made in logits} == {len(model.encoder.model.decoder.embed_tokens)}


def test_ways_that_disagree_are_not_timed(model):
    ways = ablation.make_ways(model, CLIPS)
    wrong = {"all on": ways["all on"], "vocabulary": lambda: -ways["all on"]()}
    with pytest.raises(SystemExit, match="vocabulary gives other vectors"):
        ablation.measure(wrong, model.model.device, len(CLIPS), 5)


def test_the_command_writes_a_row_a_part(tmp_path, model):
    arguments = ["--model", str(model.folder), "--recipe", "qwen2-audio", "--device", "cpu", "--lengths", "0.5s"]
    ablation.main([*arguments, "--clips", "2", "--rounds", "5", "--out", str(tmp_path / "a.json")])
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert rows[0]["without"] == "all on" and rows[0]["times"] == 1 and len(rows) >= 6
