"""Captions are kept by how well they fit their sound."""

import numpy as np
import pytest

from harken.engine.encoded import Encoded, Failure
from harken.errors import InputError
from harken.training.captions.filter import filter_captions
from harken.training.captions.lines import as_line, read_captions, read_lines, with_captions
from harken.training.data import Row

from ..data.miniatures import write_sound

# Texts by their angle to the sound's vector.
ANGLES = {"fits": 0.0, "near": 0.5, "off": 1.2, "wrong": 2.5}


class Model:
    """Every sound is (1, 0); a text lies at its angle."""

    sample_rate_hz, dim, read_limit_s = 8000, 2, None

    class fingerprint:
        id = "f"

    def try_encode_audio(self, waves):
        assert all(wave.sample_rate_hz == 8000 for wave in waves)
        good = [i for i, wave in enumerate(waves) if "silent" not in wave.name]
        failures = [Failure(i, w.name, "encode", f"{w.name}: silent") for i, w in enumerate(waves) if i not in good]
        return Encoded(np.tile(np.float32([2, 0]), (len(good), 1)), good, [1.0] * len(good), failures)

    def encode_text(self, texts):
        return np.float32([[np.cos(ANGLES[text]), np.sin(ANGLES[text])] for text in texts])


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.jsonl"
    lines = [
        {"id": name, "task": f"t{i}", "made_with": "x", "model": "m", "reply": {"caption": text}}
        for name, texts in (("a", ANGLES), ("b", ["wrong"]), ("silent", ["fits"]), ("gone", ["fits"]))
        for i, text in enumerate(texts)
    ]
    path.write_bytes(b"".join(map(as_line, lines)))
    return path


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    names = ("a", "b", "silent", "none")
    return [Row(name, write_sound(tmp_path / f"{name}.wav"), long=("old",)) for name in names] + [
        Row("gone", tmp_path / "gone.wav")
    ]


def test_the_best_stay_and_the_rest_is_named(tmp_path, rows, captions):
    out = tmp_path / "out.jsonl"
    report = filter_captions(rows, captions, Model(), out, keep=2, min_score=0.3, batch_size=3)
    assert (report.num_done, report.num_failed) == (1, 3)
    reply = read_captions(out)["a"]["filtered"]
    assert reply["captions"] == ["fits", "near"]
    assert reply["scores"] == pytest.approx({f"t{i}": np.cos(a) for i, a in enumerate(ANGLES.values())}, abs=1e-5)
    errors = {line["id"]: line["error"] for line in read_lines(out) if "error" in line}
    assert errors["b"] == "b: the best of 1 captions scores -0.801; wanted at least 0.3"
    assert "silent" in errors["silent"] and "there is no such file" in errors["gone"]
    assert [row.long for row in with_captions(rows[:2], out)] == [("fits", "near"), ("old",)]


def test_a_run_goes_on_and_other_settings_are_refused(tmp_path, rows, captions):
    out = tmp_path / "out.jsonl"
    filter_captions(rows[:1], captions, Model(), out)
    before = out.read_bytes()
    assert filter_captions(rows, captions, Model(), out).num_before == 1 and out.read_bytes().startswith(before)
    with pytest.raises(InputError, match="was made with"):
        filter_captions(rows, captions, Model(), out, keep=1)
    with pytest.raises(InputError, match="holds no caption of any of the 1 rows"):
        filter_captions([Row("x", None)], captions, Model(), out)
