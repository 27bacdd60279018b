"""A manifest gives its usable clips and a list of the rest."""

import json

import pytest

from harken.errors import InputError
from harken.training.data import load_manifest


def row(folder, number: int, **changes) -> str:
    (folder / f"{number}.wav").touch()
    values = dict(id=str(number), path=f"{number}.wav", caption=f"sound {number}", split="train", tags=["a", "b"])
    return json.dumps({**values, **changes})


def test_unusable_lines_are_counted_and_named(tmp_path):
    lines = [
        row(tmp_path, 1), "{not json", row(tmp_path, 2, caption=" "), row(tmp_path, 3, path="gone.wav"),
        row(tmp_path, 4, split="dev"), row(tmp_path, 5, id="1"), "[]", "", row(tmp_path, 6, split="test"),
    ]  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    dataset = load_manifest(tmp_path)
    assert [clip.id for clip in dataset.clips] == ["1", "6"]
    assert [problem.split(":")[1] for problem in dataset.problems] == ["2", "3", "4", "5", "6", "7"]
    assert "gone.wav" in dataset.problems[2] and "'dev'" in dataset.problems[3] and "twice" in dataset.problems[4]
    assert [clip.id for clip in dataset.split("test")] == ["6"]


def test_a_manifest_of_nothing_usable_is_refused(tmp_path):
    (tmp_path / "manifest.jsonl").write_text("{}")
    with pytest.raises(InputError, match="not one of 1 lines"):
        load_manifest(tmp_path)
