"""The stage that is called the limit is the one the others waited for; no more of a sound is read than counts."""

import pytest

from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk.report import StageTimes

from .fake import FakeEncoder
from .sounds import fill
from .test_runner import vectors


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        ({"read": 1, "decode": 2, "resample": 1, "device": 3, "write": 1}, "device"),
        # Four readers share 16 seconds of work: more than the model's 3.
        ({"read": 3, "decode": 12, "resample": 1, "device": 3, "write": 1}, "decode"),
        ({"read": 12, "decode": 3, "resample": 1, "device": 3, "write": 1}, "read"),
        # No stage of reading is as busy as the model, all three together are.
        ({"read": 5, "decode": 5, "resample": 6, "device": 3, "write": 1}, "resample"),
        ({"read": 1, "decode": 2, "resample": 1, "device": 3, "write": 4}, "write"),
    ],
)
def test_the_limit(seconds, limit):
    times = StageTimes(num_readers=4)
    times.add(seconds)
    assert times.limit() == limit
    loads = times.loads(10.0)
    assert loads["decode"] == seconds["decode"] / 40 and loads["device"] == seconds["device"] / 10


@pytest.mark.parametrize("in_processes", [False, True])
def test_no_more_is_read_than_counts(tmp_path, in_processes):
    class Short(FakeEncoder):
        read_limit_s = 0.02

    folder = fill(tmp_path / "in", 3)
    engine = LocalEngine(1, in_processes=in_processes)
    run_bulk([str(folder)], tmp_path / "out", Short, settings=Settings(part_rows=1), engine=engine)
    assert [row["duration_s"] for row in vectors(tmp_path / "out").values()] == pytest.approx([0.02] * 3, abs=1e-4)
