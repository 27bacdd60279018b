"""A corpus costs what the formulas say; a run gives its own rates, and what is not known is not told."""

import pytest

from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk.cost import Rates, cost, rates_of
from harken.errors import FileFormatError, InputError

from .fake import FakeEncoder
from .sounds import fill


def test_the_device_is_the_limit_unless_something_gives_less():
    rates = Rates(clips_per_s=100, store_bytes=2048, read_bytes=320_000, cpu_s=0.02)
    one = cost(rates, 1_000_000)
    assert one.hours == pytest.approx(1e6 / 100 / 3600) and one.gpu_hours == one.hours and one.limit == "device"
    assert (one.store_bytes, one.read_bytes) == (2.048e9, 3.2e11)
    eight = cost(rates, 1_000_000_000, num_gpus=8)
    assert eight.hours == pytest.approx(1000 * one.hours / 8) and eight.gpu_hours == pytest.approx(1000 * one.hours)
    assert eight.network_bytes_per_s == pytest.approx(8 * 100 * 320_000) and eight.num_cores == pytest.approx(16)
    slow = cost(rates, 1_000_000, num_gpus=8, max_network_bytes_per_s=32_000_000, max_cores=32)
    assert slow.limit == "network" and slow.hours == pytest.approx(1e6 / 100 / 3600)
    assert slow.gpu_hours == pytest.approx(8 * slow.hours)
    few = cost(rates, 1_000_000, num_gpus=8, max_cores=1)
    assert few.limit == "cores" and few.hours == pytest.approx(1e6 * 0.02 / 3600)


def test_what_is_not_known_is_not_told():
    unknown = cost(Rates(50), 1000)
    assert unknown.store_bytes is None and unknown.read_bytes is None
    assert unknown.network_bytes_per_s is None and unknown.num_cores is None
    with pytest.raises(InputError, match="for cores wants CPU seconds a sound"):
        cost(Rates(50), 1000, max_cores=4)
    with pytest.raises(InputError, match="clips_per_s is 0; wanted more than 0"):
        Rates(0)
    with pytest.raises(InputError, match="wanted at least 1 of each"):
        cost(Rates(1), 0)


def test_a_run_gives_its_own_rates(tmp_path):
    folder, out = fill(tmp_path / "in", 20), tmp_path / "out"
    settings = Settings(part_rows=4)
    report = run_bulk([str(folder)], out, FakeEncoder, settings=settings, engine=LocalEngine(2))
    # A second start has nothing to do, and says nothing of speed.
    run_bulk([str(folder)], out, FakeEncoder, settings=settings, engine=LocalEngine(2))
    rates, told = rates_of(out)
    assert rates.clips_per_s == pytest.approx(report.progress.clips_per_s)
    files = [path.stat().st_size for path in folder.rglob("*.*")]
    assert rates.read_bytes == pytest.approx(sum(files) / 20)
    stored = [path.stat().st_size for path in (out / "vectors").iterdir()]
    assert rates.store_bytes == pytest.approx(sum(stored) / 20)
    assert rates.cpu_s == pytest.approx(sum(report.stage_s[s] for s in ("read", "decode", "resample")) / 20)
    assert told["num_now"] == 20 and told["limit"] == report.limit
    (out / "log.jsonl").unlink()
    with pytest.raises(FileFormatError, match="its log tells of no run"):
        rates_of(out)
