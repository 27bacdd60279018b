"""The systems of the scenarios give one system's vectors, alone or behind a queue, at every boundary."""

import json

import numpy as np
import pytest

from harken.bench.latency import run
from harken.bench.latency.scenarios import WallClock, server
from harken.bench.latency.systems import Served, System, check_agreement, items_of, make_systems
from harken.bench.latency.workload import make_workload, write_files
from harken.engine.load import load

from ... import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny.qwen2_audio(tmp_path_factory.mktemp("model")), recipe="qwen2-audio", device="cpu")


@pytest.fixture(scope="module")
def workload():
    return make_workload("mix", 4, seed=2)


@pytest.mark.parametrize("boundary", ["file", "samples"])
def test_all_systems_agree(model, workload, boundary, tmp_path):
    items = items_of(workload, boundary, write_files(workload, tmp_path), model)
    systems = make_systems(model, ["harken", "hf published", "hf batched"], boundary, batch=3)
    assert [system.name for system in systems] == ["harken", "hf published", "hf batched"]
    check_agreement(systems, items, 0.9999)
    wanted = systems[0].embed(items)
    for system in systems:
        served = Served(system, items, workload.durations_s)
        got = [served.submit(i) for i in (3, 0, 2, 1)]
        assert np.abs(np.stack([f.result(60) for f in got]) - wanted[[3, 0, 2, 1]]).max() < 1e-3
        served.close()


def test_features_give_the_vectors_of_their_samples(model, workload):
    items = items_of(workload, "features", [], model)
    (system,) = make_systems(model, ["harken", "hf batched"], "features", 1)
    wanted = model.encode_audio([(clip, 16000) for clip in workload.clips])
    assert np.abs(system.embed(items) - wanted).max() < 1e-5


def test_a_system_that_disagrees_is_not_timed(model, workload):
    (one,) = make_systems(model, ["harken"], "samples", 1)
    other = System("backwards", lambda items: -one.embed(items), one.cost, 1)
    with pytest.raises(SystemExit, match="backwards disagrees with harken"):
        check_agreement([one, other], workload.clips, 0.9999)


def test_the_server_scenario_answers_every_sample(model, workload):
    (one,) = make_systems(model, ["harken"], "samples", 1)
    served = Served(one, workload.clips, workload.durations_s)
    outcome = server(served.submit, [0, 1, 2, 3] * 2, 1000.0, WallClock(), seed=0)
    served.close()
    assert outcome.num_samples == 8 and all(0 < latency < 300 for latency in outcome.latencies_s)


def test_a_run_leaves_rows_and_what_they_were_measured_on(model, tmp_path, capsys):
    arguments = ["--model", str(model.folder), "--recipe", "qwen2-audio", "--device", "cpu", "--lengths", "0.5s"]
    arguments += ["--clips", "2", "--issues", "2", "--system", "harken", "--out", str(tmp_path / "out.json")]
    run.main(arguments)
    record = json.loads((tmp_path / "out.json").read_text())
    assert [row["scenario"] for row in record["rows"]] == 3 * list(run.SCENARIOS)
    assert {row["boundary"] for row in record["rows"]} == {"file", "samples", "features"}
    assert record["settings"]["workloads"][0]["mean_s"] == 0.5 and record["machine"]["cpu"]
    assert capsys.readouterr().out.count("harken") == 12
