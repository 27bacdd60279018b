"""The number of reading threads follows from what loading and embedding a few sounds of the run take."""

import pytest

from harken.engine.bulk import Settings, calibrate, freeze
from harken.engine.bulk.calibrate import Rates, Sample, choose_readers
from harken.engine.bulk.decoding import decoder
from harken.engine.bulk.encoder import ModelInfo
from harken.engine.bulk.job import Job
from harken.engine.bulk.reading import Readers

from .fake import FakeEncoder
from .sounds import break_twelve_ways, fill


class Clock:
    """Time that passes only when a sound is loaded or embedded."""

    now = 0.0

    def __call__(self):
        return self.now


class Timed(FakeEncoder):
    def __init__(self, clock, load_s, device_s):
        super().__init__()
        self.clock, self.load_s, self.device_s = clock, load_s, device_s

    def load_clip(self, source, name):
        self.clock.now += self.load_s
        return super().load_clip(source, name)

    def encode_clips(self, clips, *, instruction=None):
        # What is set up once must not count.
        self.clock.now += self.device_s * len(clips) + (100.0 if not self.batches else 0.0)
        return super().encode_clips(clips, instruction=instruction)


def job(tmp_path, *inputs):
    manifest = freeze([str(path) for path in inputs], tmp_path / "manifest.parquet")
    encoder = FakeEncoder()
    return Job(manifest, tmp_path, Settings(part_rows=64), ModelInfo.of(encoder, None, None), {"dim": encoder.dim})


def sample(work, encoder, clock):
    with decoder(None, None) as decode:
        return Sample(work, work.missing({})[0], encoder, decode, clock)


@pytest.mark.parametrize(
    ("load_s", "device_s", "num_threads"), [(0.02, 0.01, 3), (0.001, 0.01, 1), (1.0, 0.001, 16), (0.039, 0.01, 5)]
)
def test_threads_follow_from_the_two_rates(tmp_path, load_s, device_s, num_threads):
    clock, work = Clock(), job(tmp_path, fill(tmp_path / "in", 40))
    rates = sample(work, Timed(clock, load_s, device_s), clock).rates()
    assert rates.load_s == pytest.approx(load_s) and rates.device_s == pytest.approx(device_s)
    assert rates.num_readers(16) == num_threads


def test_a_slow_device_is_not_measured_for_long(tmp_path):
    clock, work = Clock(), job(tmp_path, fill(tmp_path / "in", 40))
    encoder = Timed(clock, 0.001, 5.0)
    rates = sample(work, encoder, clock).rates()
    assert rates.device_s == pytest.approx(5.0) and encoder.batches == [1, 2]


def test_broken_sounds_alone_give_no_measurement(tmp_path):
    break_twelve_ways(tmp_path / "in")
    work = job(tmp_path, tmp_path / "in")
    assert sample(work, FakeEncoder(), Clock()).rates() is None
    assert Rates(1.0, 0.0).num_readers(7) == 7


def test_threads_that_wait_for_each_other_are_seen(tmp_path):
    # This clock is the sum of what all threads do: as if one at a time could work.
    clock, work = Clock(), job(tmp_path, fill(tmp_path / "in", 40))
    measured = sample(work, Timed(clock, 0.01, 0.001), clock)
    measured.rates()
    assert measured.efficiency(4) == pytest.approx(1 / 4)


def test_a_short_run_is_not_measured(tmp_path, monkeypatch):
    work = job(tmp_path, fill(tmp_path / "in", 20))
    encoder = FakeEncoder()
    readers = choose_readers(work, work.missing({}), encoder)
    assert readers.num >= 1 and not readers.in_processes and encoder.batches == []
    assert choose_readers(work, work.missing({}), encoder, 3, True) == Readers(3, True) and encoder.batches == []
    monkeypatch.setattr(calibrate, "MIN_ROWS", 10)
    assert choose_readers(work, work.missing({}), encoder).num >= 1 and encoder.batches[:2] == [1, 2]
    monkeypatch.setattr(Sample, "rates", lambda _: Rates(1.0, 1e-6))
    for efficiency, in_processes in ((0.9, False), (0.3, True)):
        monkeypatch.setattr(Sample, "efficiency", lambda _, num, got=efficiency: got if num > 1 else 1.0)
        readers = choose_readers(work, work.missing({}), encoder)
        assert readers.in_processes == (in_processes and readers.num > 1)
