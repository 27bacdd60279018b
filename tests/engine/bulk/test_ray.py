"""A run on two nodes of a real Ray cluster, with a worker killed in the middle, ends in the bytes of a local run."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'harken[ray]'")
pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install 'harken[ray]'")
psutil = pytest.importorskip("psutil", reason="psutil is not installed: the cluster could not be cleaned up")

from harken.engine.bulk import LocalEngine, Settings, run_bulk  # noqa: E402
from harken.engine.bulk.ray import RayEngine  # noqa: E402
from harken.errors import BackendError, FingerprintError, InputError  # noqa: E402

from . import fake  # noqa: E402
from .sounds import break_twelve_ways, fill  # noqa: E402
from .test_runner import tree  # noqa: E402

EIGHT = Settings(part_rows=8)


class Watched(fake.FakeEncoder):
    """Slow, and says in a folder which processes it works in."""

    def __init__(self, folder, name="fake"):
        super().__init__(name, sleep_ms=150)
        self.folder = folder

    def encode_clips(self, clips, *, instruction=None):
        if clips:
            (self.folder / str(os.getpid())).touch()
        return super().encode_clips(clips, instruction=instruction)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """Address of two nodes of one CPU each; all of their processes are ended afterwards, and none of others."""
    folder, port = tempfile.mkdtemp(prefix="hk"), free_port()
    ray_command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    ray_command += ["--object-store-memory=80000000", "--disable-usage-stats"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING": "0"}
    nodes = []
    for more in (
        ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"],
        [f"--address=127.0.0.1:{port}"],
    ):
        nodes.append(
            subprocess.Popen(
                [*ray_command, *more], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        time.sleep(4)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(address=f"127.0.0.1:{port}", log_to_driver=False, logging_level="ERROR")
    end = time.monotonic() + 60
    while len([node for node in ray.nodes() if node["Alive"]]) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    ray.cloudpickle.register_pickle_by_value(sys.modules[fake.__name__])
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield f"127.0.0.1:{port}"
    ray.shutdown()
    family = [child for node in nodes for child in psutil.Process(node.pid).children(recursive=True)]
    for process in family:
        if process.is_running():
            process.kill()
    for node in nodes:
        node.kill()
        node.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "in", 90)
    break_twelve_ways(tmp_path / "in" / "b" / "broken")
    return tmp_path / "in"


def bulk(folder, out, engine, make, **options):
    return run_bulk([str(folder)], out, make, settings=EIGHT, engine=engine, **options)


def test_a_worker_killed_in_the_middle_leaves_the_bytes_of_a_local_run(cluster, folder, tmp_path):
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    bulk(folder, tmp_path / "local", LocalEngine(2), fake.FakeEncoder)
    pids, killed = tmp_path / "pids", []
    pids.mkdir()

    def kill():
        ledger = tmp_path / "ray" / "ledger.jsonl"
        while not ledger.exists() or ledger.read_bytes().count(b"\n") < 3:
            time.sleep(0.02)
        killed.append(int(sorted(pids.iterdir())[0].name))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    report = bulk(folder, tmp_path / "ray", RayEngine(cluster, num_actors=2), partial(Watched, pids))
    assert killed and report.finished and report.num_models == 2
    assert len(list(pids.iterdir())) >= 2 and not psutil.pid_exists(killed[0])
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")
    assert not list((tmp_path / "ray").glob("*.tmp")) and report.progress.num_failed == 12
    # What a cluster did is done for everyone.
    assert bulk(folder, tmp_path / "ray", LocalEngine(2), fake.FakeEncoder).progress.num_now == 0


def test_a_stopped_run_goes_on_elsewhere(cluster, folder, tmp_path):
    pids, stop = tmp_path / "pids", threading.Event()
    pids.mkdir()
    engine = RayEngine(cluster, num_actors=1)
    report = bulk(folder, tmp_path / "out", engine, partial(Watched, pids), stop=stop, on_progress=lambda _: stop.set())
    assert not report.finished and 0 < report.progress.num_done < 102
    assert not (tmp_path / "out" / "stop").exists()
    # As a worker leaves it that is killed while it writes.
    (tmp_path / "out" / "aside-x.tmp" / "vectors").mkdir(parents=True)
    (tmp_path / "out" / "aside-x.tmp" / "vectors" / "part-000001.parquet.tmp").write_bytes(b"half")
    assert bulk(folder, tmp_path / "out", LocalEngine(2), fake.FakeEncoder).finished
    bulk(folder, tmp_path / "local", LocalEngine(2), fake.FakeEncoder)
    assert tree(tmp_path / "out") == tree(tmp_path / "local")


def test_what_cannot_be_is_told_before_work_begins(cluster, folder, tmp_path):
    with pytest.raises(InputError, match="1 actors want 5 CPU each; the cluster has 2"):
        bulk(folder, tmp_path / "a", RayEngine(cluster, cpus=5), fake.FakeEncoder)
    with pytest.raises(InputError, match="3 actors want 1 CPU each; the cluster has 2"):
        bulk(folder, tmp_path / "a", RayEngine(cluster, num_actors=3), fake.FakeEncoder)
    bulk(folder, tmp_path / "b", LocalEngine(2), fake.FakeEncoder)
    with pytest.raises(FingerprintError, match="'fake' there, 'other' now"):
        bulk(folder, tmp_path / "b", RayEngine(cluster), partial(fake.FakeEncoder, "other"))


class Deadly(fake.FakeEncoder):
    """Kills the process that works with it."""

    def encode_clips(self, clips, *, instruction=None):
        if clips:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_clips(clips, instruction=instruction)


def test_a_part_that_kills_its_workers_does_not_do_so_for_ever(cluster, tmp_path):
    folder = fill(tmp_path / "in", 2)
    with pytest.raises(BackendError, match="the cluster gave up; what is done is kept, start again"):
        bulk(folder, tmp_path / "out", RayEngine(cluster, num_actors=1), Deadly)
