"""Wrong files give one error that names file, row and column; missing sounds are left out only when allowed, and told."""

import json

import pytest
from typer.testing import CliRunner

from harken.bench.quality import command
from harken.engine.cli.app import app

from . import published_files
from .world import Model, write_csv, write_lines


@pytest.fixture
def run(monkeypatch):
    """Exit code and output of `harken eval`; `run.heard` tells what the model was asked."""

    def call(*arguments):
        model = Model()
        monkeypatch.setattr(command, "load_model", lambda *_: model)
        result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
        call.heard = model.heard
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, " ".join(result.output.split())

    return call


def clotho(folder, **changes):
    """Two good clips, then one with the changes."""
    published_files.clotho(folder)
    columns = [f"caption_{i}" for i in range(1, 6)]
    rows = [{"file_name": f"Old Tap {i}.wav", **dict(zip(columns, published_files.captions(i)))} for i in range(3)]
    rows[2] |= changes
    write_csv(folder / "clotho_captions_evaluation.csv", rows)
    return folder


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"caption_3": " "}, "clotho_captions_evaluation.csv:4: caption_3: is empty"),
        ({"file_name": "Old Tap 1.wav"}, "clotho_captions_evaluation.csv:4: id: the id 'Old Tap 1.wav' is there twice"),
        ({"file_name": ""}, "clotho_captions_evaluation.csv:4: file_name: is empty"),
    ],
)
def test_a_wrong_record_is_named(run, tmp_path, changes, words):
    code, output = run("clotho", "--data", clotho(tmp_path, **changes))
    assert code == 2 and words in output
    # Leaving out is for missing sounds, not for broken annotations.
    assert run("clotho", "--data", tmp_path, "--allow-missing")[0] == 2


def test_a_missing_column_is_named(run, tmp_path):
    published_files.clotho(tmp_path)
    write_csv(tmp_path / "clotho_captions_evaluation.csv", [{"file_name": "Old Tap 1.wav", "caption_1": "x"}])
    code, output = run("clotho", "--data", tmp_path)
    assert code == 2 and "clotho_captions_evaluation.csv:2: caption_2: is missing" in output


def test_missing_sounds_stop_the_run_unless_allowed_and_are_told(run, tmp_path):
    published_files.clotho(tmp_path)
    (tmp_path / "evaluation/Old Tap 3.wav").unlink()
    code, output = run("clotho", "--data", tmp_path)
    assert (
        code == 2
        and "1 of 6 sounds are not there" in output
        and "Old Tap 3.wav" in output
        and "--allow-missing" in output
    )
    code, output = run("clotho", "--data", tmp_path, "--allow-missing", "--report", tmp_path / "out")
    assert code == 0 and "LEFT OUT: 1 clips have no sound" in output
    told = json.loads((tmp_path / "out/report.json").read_text())
    assert told["data"]["clips"] == 5 and told["data"]["clips_missing"] == 1
    assert "Old Tap 3.wav" in told["data"]["missing"][0]
    assert "LEFT OUT: 1 clips have no sound" in (tmp_path / "out/report.html").read_text()


def test_a_sound_that_cannot_be_read_is_named_or_left_out(run, tmp_path):
    published_files.clotho(tmp_path)
    (tmp_path / "evaluation/Old Tap 2.wav").write_bytes(b"RIFF no")
    code, output = run("clotho", "--data", tmp_path)
    assert code == 2 and "1 of 6 sounds cannot be embedded" in output and "Old Tap 2.wav" in output
    code, output = run("clotho", "--data", tmp_path, "--allow-missing")
    assert code == 0 and "LEFT OUT: 1 clips could not be embedded" in output


def test_files_that_are_not_there_are_named(run, tmp_path):
    code, output = run("clotho", "--data", tmp_path / "nowhere")
    assert code == 2 and "there is no such folder" in output
    code, output = run("clotho", "--data", tmp_path)
    assert code == 2 and "holds no annotation file of clotho" in output and "--annotation" in output
    code, output = run("cltho", "--data", tmp_path)
    assert code == 2 and "benchmark is 'cltho'" in output
    code, output = run("triplets", "--data", tmp_path)
    assert code == 2 and "wanted a JSON lines file of triplets" in output


@pytest.mark.parametrize(
    "options, words",
    [
        (("--ties", "lucky"), "--ties is 'lucky'"),
        (("--side", "left"), "clotho has no sides"),
        (("--label-template", "x"), "label template is 'x'"),
        (("--projection", "umap"), "umap is not installed"),
        (("--noise", "nowhere"), "holds no sound file"),
        (("--captions", "nowhere.jsonl"), "nowhere.jsonl: there is no such file"),
        (("--known-captions", "nowhere.txt"), "nowhere.txt: cannot be read"),
        (("--uiq", "nowhere"), "wanted one file *question_queries.jsonl, there are none"),
    ],
)
def test_wrong_options_are_named_before_the_work_begins(run, monkeypatch, tmp_path, options, words):
    there = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "umap" else there(name))
    published_files.clotho(tmp_path)
    code, output = run("clotho", "--data", tmp_path, *options)
    assert code == 2 and words in output
    # Told before the work begins.
    assert not run.heard


@pytest.mark.parametrize(
    "dataset, options, words",
    [
        ("esc50", ("--uiq", "x"), "esc50 is a benchmark of labels; uiq is for captions"),
        ("mmau-mini", ("--noise", "x"), "mmau-mini is a benchmark of choices; noise is for captions and labels"),
        ("uiq", ("--split", "val"), "uiq takes no --annotation, --audio-dir or --split"),
        ("sounds", ("--split", "val"), "no line is of the split 'val'"),
    ],
)
def test_options_without_a_use_are_refused(run, tmp_path, dataset, options, words):
    if dataset != "uiq":
        published_files.FILES[dataset](tmp_path)
    code, output = run(dataset, "--data", tmp_path, *options)
    assert code == 2 and words in output and not run.heard


def test_a_generated_caption_that_is_missing_is_named(run, tmp_path):
    published_files.clotho(tmp_path)
    file = write_lines(tmp_path / "made.jsonl", [{"id": "Old Tap 0.wav", "caption": "a"}, {"id": "Old Tap 1.wav"}])
    code, output = run("clotho", "--data", tmp_path, "--captions", file)
    assert code == 2 and "made.jsonl:2: caption: is missing" in output
    write_lines(file, [{"id": "Old Tap 0.wav", "caption": "a"}])
    code, output = run("clotho", "--data", tmp_path, "--captions", file)
    assert code == 2 and "5 of 6 clips have no caption; the first is 'Old Tap 1.wav'" in output


def test_a_triplet_that_is_wrong_is_named(run, tmp_path):
    file = write_lines(
        tmp_path / "t.jsonl", [{"query": "gone.wav", "right": "b.wav", "wrong": "c.wav", "instruction": "x"}]
    )
    code, output = run("triplets", "--data", file)
    assert code == 2 and "t.jsonl:1: query: there is no file" in output
