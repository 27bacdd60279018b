"""A report says what made it, needs no other file, and two of them can be compared query by query."""

import hashlib
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from harken.bench.quality import command
from harken.bench.quality.report import distinct
from harken.engine.cli.app import app

from . import published_files
from .world import Model, write_sound


class Middling(Model):
    """Hears every third sound wrongly."""

    def try_encode_audio(self, sources, *, instruction=None):
        encoded = super().try_encode_audio(sources)
        encoded.vectors[::3] = np.roll(encoded.vectors[::3], 1, axis=1)
        return encoded


@pytest.fixture
def run(monkeypatch):
    def call(*arguments, model=None):
        monkeypatch.setattr(command, "load_model", lambda *_: model or Model())
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return result.output

    return call


@pytest.fixture
def report(run, tmp_path):
    """Of Clotho's miniature with its user-intent queries."""
    data = tmp_path / "clotho"
    published_files.clotho(data)
    ids = [f"Old Tap {i}.wav" for i in range(6)]
    published_files.queries(data / "uiq", ids, [published_files.captions(i) for i in range(6)])

    def make(name, model=None):
        run("eval", "clotho", "--data", data, "--uiq", data / "uiq", "--report", tmp_path / name, model=model)
        return tmp_path / name

    return make


def test_the_numbers_come_with_what_made_them(report, tmp_path):
    told = json.loads((report("out") / "report.json").read_text())
    annotation = tmp_path / "clotho/clotho_captions_evaluation.csv"
    assert told["data"]["annotation_sha256"] == hashlib.sha256(annotation.read_bytes()).hexdigest()
    assert told["model"]["id"] == Model().fingerprint.id and told["model"]["weights_sha256"] == "w"
    assert told["versions"]["numpy"] == np.__version__ and told["settings"]["ties"] == "pessimistic"
    assert told["data"]["clips"] == 6 and told["data"]["clips_published"] == "1045"
    sections = {s["key"]: s for s in told["sections"]}
    assert sections["t2a"]["measures"]["R@1"] == {"value": 1.0, "low": 1.0, "high": 1.0, "chance": pytest.approx(1 / 6)}
    assert sections["uiq average"]["measures"]["Avg"]["value"] == 1.0


def test_the_page_needs_no_other_file_and_shows_plots_and_published_rows(report):
    page = (report("out") / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page) and "<script" not in page
    # Recall curves of directions and of user-intent queries, ranks of three and five, hard negatives, the plane.
    assert page.count("data:image/png;base64,iVBOR") == 2 + 3 + 5 + 1 + 1
    assert page.count('<tr class="published">') > 10 and "published, OEA table 2" in page


def test_two_reports_are_compared_query_by_query(run, report):
    pytest.importorskip("scipy", reason="scipy is not installed")
    ours, theirs = report("ours"), report("theirs", Middling())
    told = json.loads(run("eval-compare", ours, theirs, "--measure", "mAP@10", "--json"))
    assert told["queries"] == 6 and told[str(ours)] == 1.0 > told[str(theirs)] and told["num_different"] == 2
    result = CliRunner().invoke(app, ["eval-compare", str(ours), str(theirs), "--section", "x2y"])
    assert result.exit_code == 2 and "has no 'mAP@10' of 'x2y'" in result.output and "t2a" in result.output


def test_a_clip_that_is_asked_for_twice_has_two_values():
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_uiq_is_the_mean_of_its_three_sets(run, tmp_path):
    for name in ("audiocaps", "clotho", "mecat"):
        published_files.FILES[name](tmp_path / name)
    ids = {
        "audiocaps": [f"{published_files.youtube(i)}_30" for i in range(6)],
        "clotho": [f"Old Tap {i}" for i in range(6)],
        "mecat": [published_files.youtube(i) for i in range(6)],
    }
    for name, of in ids.items():
        published_files.queries(tmp_path / "UIQ" / name, of, _captions_of(tmp_path, name))
    # One sound of one set is another's: only that set loses.
    write_sound(tmp_path / "mecat/00A/test" / f"{published_files.youtube(0)}.flac", 5)
    output = run("eval", "uiq", "--data", tmp_path, "--json")
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert any(row["from"].startswith("published, OEA table 4") for row in rows if row["section"] == "uiq average")
    negative = [row for row in rows if row["section"] == "uiq negative" and row["from"] == "measured"]
    *sets, mean = (float(row["TFR"]) for row in negative)
    assert sets[:2] == [100.0, 100.0] and sets[2] < 100 and mean == pytest.approx(np.mean(sets), abs=0.1)


def _captions_of(root, name: str) -> list[list[str]]:
    if name != "mecat":
        return [published_files.captions(i) for i in range(6)]
    of = [json.loads((root / f"mecat/00A/test/{published_files.youtube(i)}.json").read_text()) for i in range(6)]
    return [[c for key in ("long", "short", "sound", "environment") for c in row[key]] for row in of]
