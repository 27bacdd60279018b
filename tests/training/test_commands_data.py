"""`harken data` tells what is in a dataset's files and what a test set shares with a training set."""

import json

import pytest
from typer.testing import CliRunner

from harken.engine.cli import application

from .data import miniatures


@pytest.fixture
def run():
    def call(*arguments) -> tuple[int, str, str]:
        result = CliRunner().invoke(application(), [str(a) for a in arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


def test_a_good_dataset_passes(run, tmp_path):
    annotation, audio = miniatures.write(tmp_path, "audiocaps")
    code, out, _ = run("data", "check", "audiocaps", annotation, "--audio", audio, "--decode", "--json")
    facts = json.loads(out)
    assert code == 0 and (facts["rows"], facts["captions"], facts["with a sound"], facts["splits"]) == (
        2,
        3,
        2,
        "test 2",
    )


def test_what_cannot_be_read_is_told_and_written(run, tmp_path):
    annotation, audio = miniatures.write(tmp_path, "audiocaps")
    (audio / "Yz_9a1b2c3d_0.flac").write_bytes(b"fLaC")
    (audio / "--a1b2c3d4e_30.wav").unlink()
    listed = tmp_path / "problems.txt"
    code, out, err = run(
        "data", "check", "audiocaps", annotation, "--audio", audio, "--decode", "--problems", listed, "--json"
    )
    assert code == 1 and json.loads(out)["problems"] == 3 == len(listed.read_text().splitlines())
    assert "test.csv:2: youtube_id: there is no sound" in err and "Yz_9a1b2c3d_0" in listed.read_text()


def test_decoding_wants_sounds(run, tmp_path):
    annotation, _ = miniatures.write(tmp_path, "audiocaps")
    code, _, err = run("data", "check", "audiocaps", annotation, "--decode")
    assert code == 2 and "--decode wants --audio" in err


def test_data_of_ones_own_is_scanned(run, tmp_path):
    folder = tmp_path / "own"
    for i, name in enumerate(("a", "b", "c")):
        miniatures.write_sound(folder / f"{name}.wav", i)
        (folder / f"{name}.json").write_text(json.dumps({"caption": f"sound {name}", "split": "train", "tags": ["t"]}))
    code, out, _ = run("data", "scan", folder, "--decode", "--json")
    facts = json.loads(out)
    assert code == 0 and (facts["rows"], facts["with a sound"], facts["with tags"], facts["splits"]) == (
        3,
        3,
        3,
        "train 3",
    )
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "b.json").unlink()
    code, out, err = run("data", "scan", folder, "--decode", "--json")
    assert code == 1 and json.loads(out)["problems"] == 2
    assert "a.wav" in err and "b.wav has neither b.json nor b.txt beside it" in err
    code, _, err = run("data", "scan", tmp_path / "gone")
    assert code == 2 and "there is no such file or folder" in err


def test_leakage_is_counted_and_its_pairs_written(run, tmp_path):
    test, _ = miniatures.write(tmp_path, "audiocaps")
    train, _ = miniatures.write(tmp_path, "wavcaps", 2)
    pairs = tmp_path / "pairs.jsonl"
    specs = ["--train", f"wavcaps={train}", "--test", f"audiocaps:test={test}", "-o", pairs, "--option", "val_share=0"]
    code, out, _ = run("data", "leakage", *specs, "--json")
    assert code == 1 and json.loads(out.splitlines()[1]) == {"by": "origin", "test rows": 1, "of": 2, "percent": 50.0}
    assert json.loads(pairs.read_text()) == {
        "by": "origin", "test": "--a1b2c3d4e_30", "train": ["AudioSet_SL/Y--a1b2c3d4e.wav"]
    }  # fmt: skip
    assert run("data", "leakage", "--train", f"audiocaps={test}", "--test", f"wavcaps={train}", "--json")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "cloto", "x.csv"], "dataset is 'cloto'"), (["check", "clotho", "x.csv"], "there is no such file"),
        (["check", "clotho", "x.csv", "--option", "a"], "--option is 'a'; wanted NAME=VALUE"),
        (["check", "clotho", "x.csv", "--option", "a=1"], "takes no option 'a'"),
        (["leakage", "--train", "clotho", "--test", "clotho=x"], "'clotho': wanted DATASET=ANNOTATION"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_code_two(run, arguments, message):
    code, _, err = run("data", *arguments)
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_all_datasets_are_listed(run):
    code, out, _ = run("data", "datasets", "--json")
    assert code == 0 and {json.loads(line)["dataset"] for line in out.splitlines()} == set(miniatures.FILES)
