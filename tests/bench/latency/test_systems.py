"""The systems of the scenarios give one system's answers, alone or behind a queue; what cannot run is told."""

import json

import numpy as np
import pytest
import torch

from harken.bench.latency import run
from harken.bench.latency.architectures import build
from harken.bench.latency.embedding import Options, Rivals, audio_case, text_case
from harken.bench.latency.rerank_case import load_rerankers, rerank_case
from harken.bench.latency.scenarios import WallClock, server
from harken.bench.latency.search_case import search_case, share_found
from harken.bench.latency.systems import Case, Served, System, gate
from harken.bench.latency.workload import make_sentences, make_workload, write_files
from harken.bench.report.collect import read_result
from harken.bench.report.write import render_markdown, render_page
from harken.engine.export.targets import export
from harken.engine.load import load
from harken.errors import InputError

from ... import tiny
from ...engine.export import make

HF = ("harken", "hf published", "hf own length", "hf batched")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder):
    return load(folder, recipe="qwen2-audio", device="cpu")


@pytest.fixture(scope="module")
def shallow(folder, tmp_path_factory):
    """One layer of it, because tracing takes seconds a layer."""
    made = make.shallow(tmp_path_factory.mktemp("one") / "layer", folder)
    config = json.loads((made / "config.json").read_text())
    # transformers counts them.
    config["text_config"].pop("layer_types", None)
    (made / "config.json").write_text(json.dumps(config))
    return load(made, recipe="qwen2-audio", device="cpu")


@pytest.fixture(scope="module")
def workload():
    return make_workload("mix", 4, seed=2)


@pytest.fixture(scope="module")
def exports(shallow, tmp_path_factory):
    """Folders of the model for its other systems."""
    for package in ("onnx", "onnxscript", "onnxruntime", "sentence_transformers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    place = tmp_path_factory.mktemp("exports")
    made = {name: export(shallow.folder, place / name, to=name, recipe="qwen2-audio") for name in ("onnx", "hf")}
    return Options(batch=3, onnx=made["onnx"], sentence_transformers=made["hf"])


def names_of(case):
    return [system.name for system in case.systems]


def assert_all_agree(case, least=0.999999):
    passed, near, failed = gate(case)
    assert failed == {} and [system.name for system in passed] == names_of(case)
    assert min(near.values()) > least


@pytest.mark.parametrize("boundary", ["file", "samples"])
def test_all_systems_agree_and_keep_their_order_behind_a_queue(model, workload, boundary, tmp_path):
    case = audio_case(workload, boundary, write_files(workload, tmp_path), Rivals(model, Options(HF, 3), None))
    assert names_of(case) == ["harken", "hf published", "hf batched"] and list(case.absent) == ["hf own length"]
    assert_all_agree(case)
    wanted = case.systems[0].answer(case.items)
    for system in case.systems:
        served = Served(system, case)
        got = [served.submit(i) for i in (3, 0, 2, 1)]
        assert np.abs(np.stack([f.result(60) for f in got]) - wanted[[3, 0, 2, 1]]).max() < 1e-3
        served.close()


def test_exports_and_sentence_transformers_give_the_same_vectors(shallow, workload, exports):
    rivals = Rivals(shallow, exports, None)
    for case in (audio_case(workload, "samples", [], rivals), text_case(make_sentences(5), rivals)):
        assert {"harken", "hf batched", "onnxruntime", "sentence-transformers"} <= set(names_of(case))
        assert {"aoti", "hf own length", "hf batched compiled"} <= set(case.absent)
        assert_all_agree(case)


def test_models_drawn_by_transformers_take_features_of_their_own_length():
    made = build("omni-3b", device=torch.device("cpu"), dtype=torch.float32, tiny=True)
    model = made.embedder("float32")
    names = ("harken", "hf own length", "hf batched")
    rivals = Rivals(model, Options(names, 2), lambda: made.rival(model))
    case = audio_case(make_workload("0.5s", 2), "samples", [], rivals)
    assert names_of(case) == list(names)
    assert_all_agree(case)
    assert_all_agree(text_case(make_sentences(3), rivals))


def test_a_compiled_rival_runs_without_its_head_and_gives_it_back(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    rivals = Rivals(model, Options(("hf batched", "hf batched compiled", "hf published"), 2, compile=True), None)
    case = text_case(make_sentences(3), rivals)
    assert names_of(case) == ["harken", "hf batched", "hf batched compiled", "hf published"]
    assert [system.compiles for system in case.systems] == [False, False, True, False]
    assert_all_agree(case)


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Offline"])
def test_what_compiles_is_played_untimed_first(scenario):
    given = []
    system = System("x", lambda items: given.append(len(items)) or np.zeros((len(items), 1)), None)
    case = Case("text", "", "text", list(range(8)), [system], min, 0.0, {})
    outcome = run.play(scenario, system, case, 8, 1.0, warm=True)
    assert sum(given) == 3 * outcome.num_samples and len(set(given)) == 1


def test_features_give_the_vectors_of_their_samples(model, workload):
    case = audio_case(workload, "features", [], Rivals(model, Options(("harken", "hf batched")), None))
    wanted = model.encode_audio([(clip, 16000) for clip in workload.clips])
    assert np.abs(case.systems[0].answer(case.items) - wanted).max() < 1e-5
    assert case.absent == {"hf batched": "takes no features"}


def test_why_a_system_cannot_run_is_told(model, workload, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    names = ("harken", "onnxruntime", "aoti", "sentence-transformers", "hf batched compiled", "vllm", "faiss flat")
    options = Options(names, onnx=tmp_path, aoti=tmp_path / "nothing", sentence_transformers=tmp_path / "nothing")
    absent = audio_case(workload, "samples", [], Rivals(model, options, None)).absent
    assert str(tmp_path) in absent["onnxruntime"] and "nothing" in absent["aoti"]
    assert "no config.json" in absent["sentence-transformers"] or "not installed" in absent["sentence-transformers"]
    assert absent["hf batched compiled"] == "asked for by --compile" and "vllm" in absent and "faiss flat" not in absent


def test_an_export_of_another_kind_is_refused(model, workload, exports):
    options = Options(("aoti",), aoti=exports.onnx)
    (reason,) = audio_case(workload, "samples", [], Rivals(model, options, None)).absent.values()
    assert "was exported --to onnx, wanted --to aoti" in reason


def test_a_system_that_disagrees_or_falls_is_told_and_left_out(model, workload):
    case = audio_case(workload, "samples", [], Rivals(model, Options(("harken",)), None))
    right = case.systems[0].answer

    def falls(items):
        raise RuntimeError("no such operator")

    more = [System("backwards", lambda items: -right(items), 1), System("falls", falls, 1)]
    case.systems.extend(more)
    passed, _, failed = gate(case)
    assert [system.name for system in passed] == ["harken"]
    assert failed["backwards"].startswith("agreement with harken -1.0") and failed["falls"].endswith("no such operator")


def test_the_server_scenario_answers_every_sample(model, workload):
    case = audio_case(workload, "samples", [], Rivals(model, Options(("harken",)), None))
    served = Served(case.systems[0], case)
    outcome = server(served.submit, [0, 1, 2, 3] * 2, 1000.0, WallClock(), seed=0)
    served.close()
    assert outcome.num_samples == 8 and all(0 < latency < 300 for latency in outcome.latencies_s)


@pytest.mark.parametrize("direction", ["t2a", "a2t"])
def test_rerankers_agree(folder, direction):
    model, heard, rival = load_rerankers(folder, None, "cpu", "float32")
    case = rerank_case(model, heard, rival, direction, num_queries=2, num_candidates=3, length_s=0.5, batch=2)
    assert names_of(case) == ["harken", "harken, heard", "hf pairwise", "hf batched"]
    assert case.systems[0].answer(case.items).shape == (2, 3)
    # P(Yes) of three candidates: a few float32 steps turn so short a vector further than an embedding.
    assert_all_agree(case, least=0.99999)


def test_searches_agree_and_a_corpus_that_does_not_fit_is_refused():
    case = search_case(500, 16, 40)
    assert {"harken", "numpy", "torch"} <= set(names_of(case))
    assert_all_agree(case)
    with pytest.raises(InputError, match="are free: not measured"):
        search_case(10**12, 16, 1)


def test_the_share_of_rows_found_counts_every_wanted_row():
    wanted = np.array([[1, 2], [3, 4]])
    assert share_found(wanted[:, ::-1], wanted) == 1
    assert share_found(np.array([[1, 9], [9, 9]]), wanted) == 0.25
    assert share_found(np.array([[1, 1], [3, 3]]), wanted) == 0.5


def test_rates_are_those_of_the_mean_sample():
    case = Case("audio", "", "samples", [0, 1], [], min, 0.0, {}, [100, 300], 2.5, 5e9)
    assert case.rates(4.0, 1e11) == {"audio_s_per_s": 10.0, "tokens_per_s": 800.0, "mfu": 0.2}


@pytest.fixture
def quick(monkeypatch):
    """Without the large product that MFU is told against."""
    monkeypatch.setattr(run, "peak_flops", lambda device, dtype: 1e12)


def test_a_run_leaves_rows_and_what_they_were_measured_on(folder, tmp_path, capsys, quick):
    arguments = ["--model", str(folder), "--recipe", "qwen2-audio", "--device", "cpu", "--lengths", "0.5s"]
    arguments += ["--samples", "2", "--issues", "2", "--bound-ms", "200", "--system", "vllm"]
    arguments += ["--out", str(tmp_path / "out.json")]
    run.main([*arguments, "--what", "audio", "text", "rerank", "--candidates", "2", "--length", "0.5"])
    record = json.loads((tmp_path / "out.json").read_text())
    assert [row["scenario"] for row in record["rows"]] == 5 * list(run.SCENARIOS)
    assert [row["boundary"] for row in record["rows"][::4]] == ["file", "samples", "features", "text", "samples"]
    assert record["settings"]["workloads"][0]["mean_s"] == 0.5 and record["machine"]["cpu"]
    offline = [row for row in record["rows"] if row["scenario"] == "Offline"]
    assert all(row["tokens_per_s"] > 0 and 0 < row["mfu"] < 1 for row in offline[:4])
    server = record["rows"][2]
    assert server["scenario"] == "Server" and server["rate_per_s"] > 0
    assert capsys.readouterr().out.count("not run: vllm") == 2
    result = read_result(tmp_path / "out.json")
    assert result.bench == "scenarios" and "vllm" in str(result.settings["absent"])
    text = render_markdown(tmp_path)
    assert "Not run: " in text and "MFU %" in text and "peak MB" in text
    assert "Not run: " in render_page(tmp_path)


def test_a_run_goes_on_past_what_fails_and_says_so_at_the_end(tmp_path, capsys, quick, monkeypatch):
    wrong = lambda queries, corpus, k: np.zeros((len(queries), k), np.int64)
    monkeypatch.setattr("harken.bench.latency.search_case.numpy_way", wrong)
    sizes = ["--rows", "300", str(10**12), "--width", "8", "--samples", "2", "--system", "numpy", "torch"]
    with pytest.raises(SystemExit, match="FAILED: see above"):
        run.main(["--what", "search", *sizes, "--scenario", "Offline", "--out", str(tmp_path / "out.json")])
    record = json.loads((tmp_path / "out.json").read_text())
    assert [row["system"] for row in record["rows"]] == ["harken", "torch"]
    assert list(record["settings"]["failed"]) == ["numpy (vector)"]
    assert "not measured" in str(record["settings"]["absent"])
    assert "FAILED: numpy (vector)" in render_markdown(tmp_path) and "FAILED: numpy" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nothing was measured"):
        run.main(["--what", "search", "--rows", str(10**12), "--samples", "1"])


def test_counts_below_one_are_refused(capsys):
    for option in ("--samples", "--issues", "--batch", "--rows"):
        with pytest.raises(SystemExit):
            run.main([option, "0"])
        assert f"argument {option}: invalid" in capsys.readouterr().err
