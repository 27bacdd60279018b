"""`harken bulk` with a stand-in for the model: the exit codes and outputs that scripts rely on."""

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harken.engine import cli
from harken.engine import load as loading
from harken.engine.fingerprint import Fingerprint
from harken.engine.index import Index
from harken.engine.recipes import get_recipe

from .fake import DIM, FakeEncoder
from .sounds import break_twelve_ways, fill
from .test_runner import tree


class FakeModel(FakeEncoder):
    def __init__(self, path=None, **options):
        super().__init__()
        self.folder, self.adapter, self.recipe = Path(path or "fake"), None, get_recipe("harken-mini")
        self.fingerprint = Fingerprint("fake", "a", None, "fake", "b", "w80", "float32", "0.1.0")

    def encode_text(self, texts, *, instruction=None):
        return np.ones((len(texts), DIM), np.float32)


@pytest.fixture
def run(capsys, monkeypatch):
    """A function that runs a command line; gives exit code, standard output and standard error."""
    monkeypatch.setattr(loading, "load", FakeModel)

    def command(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(a) for a in arguments])
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return command


def test_a_run_ends_with_its_figures_and_an_index(run, tmp_path):
    folder, out = fill(tmp_path / "in", 12), tmp_path / "out"
    code, said, _ = run("bulk", folder, "-o", out, "--part-rows", 5, "--index", tmp_path / "x.harken", "--model", "m")
    assert code == 0 and "12 of 12" in said and "the limit was" in said
    rows = [row for path in sorted((out / "vectors").iterdir()) for row in pq.read_table(path).to_pylist()]
    index = Index.open(tmp_path / "x.harken")
    assert index.ids == [row["id"] for row in rows] and index.made_with["model"] == "m"
    assert np.array_equal(index._stored.vectors, np.array([row["vector"] for row in rows], np.float32))
    assert index.fingerprint == FakeModel().fingerprint
    assert index.metadata["uri"].to_pylist() == [row["uri"] for row in rows]


def test_again_and_elsewhere_gives_the_same_bytes(run, tmp_path):
    folder = fill(tmp_path / "in", 12)
    for name in ("a", "b"):
        assert run("bulk", folder, "-o", tmp_path / name, "--part-rows", 5)[0] == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    (tmp_path / "b" / "vectors" / "part-000001.parquet").unlink()
    code, said, _ = run("bulk", folder, "-o", tmp_path / "b", "--part-rows", 5)
    assert code == 0 and "5 sounds in" in said and tree(tmp_path / "a") == tree(tmp_path / "b")


def test_failures_decide_the_exit_code(run, tmp_path):
    fill(tmp_path / "in", 12)
    broken = break_twelve_ways(tmp_path / "in" / "broken")
    code, said, told = run(
        "bulk", tmp_path / "in", "-o", tmp_path / "out", "--json", "--prometheus", tmp_path / "m.prom"
    )
    assert code == 1 and "1 files are not there" in told
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[0]["event"] == "progress" and lines[-1]["event"] == "end"
    end = lines[-1]
    assert (end["finished"], end["num_done"], end["num_failed"]) == (True, 24, 12)
    assert sum(end["errors"].values()) == 12 and end["limit"] in end["stage_s"]
    assert "harken_bulk_done_total 24\n" in (tmp_path / "m.prom").read_text()
    assert pq.read_table(tmp_path / "out" / "errors.parquet").num_rows == len(broken)
    assert run("bulk", tmp_path / "in", "-o", tmp_path / "out", "--max-error-rate", 0.5)[0] == 0


def test_wrong_use_is_one_line(run, tmp_path):
    folder = fill(tmp_path / "in", 2)
    for arguments, said in (
        ((tmp_path / "nowhere", "-o", tmp_path / "out"), "there is no such file or folder"),
        ((folder, "-o", folder), "is no run's folder"),
        ((folder, "-o", tmp_path / "out", "--store", "int4"), "dtype is 'int4'"),
        ((folder, "-o", tmp_path / "out", "--duplicates", "last"), "wanted refuse or first"),
    ):
        code, _, told = run("bulk", *arguments)
        assert code == 2 and said in told and "Traceback" not in told


def test_a_dry_run_writes_nothing(run, tmp_path):
    folder = fill(tmp_path / "in", 3)
    code, said, _ = run("bulk", folder, "-o", tmp_path / "out", "--dry-run", "--json")
    assert code == 0 and json.loads(said)["sounds"] == 3 and not (tmp_path / "out").exists()


def test_ctrl_c_finishes_the_part_in_hand(run, tmp_path, monkeypatch):
    folder, out = fill(tmp_path / "in", 12), tmp_path / "out"
    encode, before = FakeModel.encode_clips, signal.getsignal(signal.SIGINT)

    def interrupted(self, clips, **options):
        if clips:
            os.kill(os.getpid(), signal.SIGINT)
            assert threading.current_thread() is threading.main_thread()
        monkeypatch.setattr(FakeModel, "encode_clips", encode if clips else interrupted)
        return encode(self, clips, **options)

    monkeypatch.setattr(FakeModel, "encode_clips", interrupted)
    code, said, told = run("bulk", folder, "-o", out, "--part-rows", 4)
    assert code == 130 and "finishing the part in hand" in told and "4 of 12" in said
    assert run("bulk", folder, "-o", out, "--part-rows", 4)[0] == 0
    assert run("bulk", folder, "-o", tmp_path / "straight", "--part-rows", 4)[0] == 0
    assert tree(out) == tree(tmp_path / "straight")
    assert signal.getsignal(signal.SIGINT) is before


def test_index_commands(run, tmp_path):
    folder = fill(tmp_path / "in", 12)
    for name in ("a", "b"):
        assert run("bulk", folder / name, "-o", tmp_path / name, "--index", tmp_path / f"{name}.harken")[0] == 0
    assert run("index", "run", tmp_path / "a", "-o", tmp_path / "a2.harken")[0] == 0
    ab = tmp_path / "ab.harken"
    indexes = [tmp_path / "a.harken", tmp_path / "b.harken"]
    code, said, _ = run("index", "merge", *indexes, "-o", ab, "--json")
    assert code == 0 and json.loads(said)["vectors"] == 12
    (tmp_path / "ids.txt").write_text("00001.flac\n00003.flac\n")
    assert run("index", "delete", ab, "00000.wav", f"@{tmp_path}/ids.txt")[0] == 0
    assert len(Index.open(ab)) == 9
    code, _, told = run("index", "delete", ab, "00000.wav")
    assert code == 2 and "1 ids are not in the index: 00000.wav" in told
    code, _, told = run("index", "add", ab, tmp_path / "b" / "vectors" / "part-000000.parquet")
    assert code == 2 and "ids occur twice" in told and len(Index.open(ab)) == 9
    code, said, _ = run("search", ab, "a dog", "--json")
    assert code == 0 and len(said.splitlines()) == 9
