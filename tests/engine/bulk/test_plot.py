"""The pictures show what the run did: every sound's length once, each stretch of work, failures by kind."""

import json

import numpy as np
import pytest

from harken.engine.audio import load_audio
from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk.plot import errors_of, lengths_of, plot_run, throughput
from harken.errors import FileFormatError, OutputError

from .fake import FakeEncoder
from .sounds import break_twelve_ways, fill


@pytest.fixture(params=["parquet", "npy"])
def run(tmp_path, request):
    fill(tmp_path / "in", 30)
    break_twelve_ways(tmp_path / "in" / "broken")
    settings = Settings(request.param, part_rows=8)
    run_bulk([str(tmp_path / "in")], tmp_path / "out", FakeEncoder, settings=settings, engine=LocalEngine(2))
    return tmp_path / "out"


def test_lengths_and_failures_are_all_counted(run, tmp_path):
    counts, edges = lengths_of(run)
    lengths = [load_audio(path).duration_s for path in (tmp_path / "in").glob("[ab]/*.*")]
    assert counts.tolist() == np.histogram(np.float32(lengths), edges)[0].tolist() and counts.sum() == 30
    assert errors_of(run) == {"decode AudioError": 11, "read AudioError": 1}


def test_throughput_leaves_out_the_time_between_two_starts(run):
    lines = [("begin", 100, 0), ("part", 110, 50), ("part", 130, 50), ("begin", 5000, 0), ("part", 5010, 40)]
    text = "".join(json.dumps({"event": e, "time": t, "num_rows": n}) + "\n" for e, t, n in lines)
    (run / "log.jsonl").write_text(text + '{"torn')
    (first, rates), (second, more) = throughput(run)
    assert (first * 3600).tolist() == pytest.approx([10, 30]) and rates.tolist() == pytest.approx([5, 2.5])
    assert (second * 3600).tolist() == pytest.approx([40]) and more.tolist() == pytest.approx([4])


def test_a_picture_is_drawn(run, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'harken[plot]'")
    plot_run(run, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError, match="x.png: cannot be written"):
        plot_run(run, tmp_path / "nowhere" / "x.png")
    with pytest.raises(OutputError, match="run.xyz: cannot be written"):
        plot_run(run, tmp_path / "run.xyz")
    with pytest.raises(FileFormatError, match="is no run's folder"):
        plot_run(tmp_path, tmp_path / "x.png")
