"""The training benchmark's three systems train the same thing, and their figures are kept with what they were measured on."""

import json

from harken.bench import train
from harken.bench.report.collect import read_result
from harken.bench.report.write import render_markdown

from .. import tiny
from ..training.runs import write_sounds


def test_all_three_start_from_the_same_loss(tmp_path, capsys):
    model = tiny.qwen2_audio(tmp_path / "model", text="llama", num_mels=80)
    sounds = write_sounds(tmp_path / "sounds", 6, 5)
    out = tmp_path / "out.json"
    size = ["--batch", "3", "--steps", "1", "--rounds", "1", "--dtype", "float32", "--out", str(out)]
    assert train.main(["--data", str(sounds), "--model", str(model), *size]) == 0
    rows = {row["system"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"harken", "harken, tower", "HF Trainer"}
    # The cache holds tower outputs in float16.
    assert abs(rows["HF Trainer"]["first_loss"] - rows["harken"]["first_loss"]) < 2e-2
    assert rows["harken, tower"]["first_loss"] == rows["harken"]["first_loss"]
    assert all(row["samples_per_s"] > 0 for row in rows.values())
    assert "samples/s" in capsys.readouterr().out
    assert read_result(out).bench == "train" and "HF Trainer" in render_markdown(tmp_path)
