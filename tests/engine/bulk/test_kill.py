"""The real process, killed anywhere or robbed of its disk, and started again: the same bytes as of a run left alone.

The program is fake.py: all of a bulk run but the weights.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.engine.bulk import run_bulk
from harken.errors import InputError

from .fake import FakeEncoder
from .sounds import break_twelve_ways, fill, tone
from .test_runner import tree

# With it set in the environment the long versions run: a hundred kills, twenty thousand sounds.
LONG = "HARKEN_LONG_TESTS"
PROGRAM = [sys.executable, str(Path(__file__).with_name("fake.py")), "--serve"]
SEED = 11
# One heap and no pool of Arrow's own: what is measured is then what is held, not how allocators scatter it.
ENVIRONMENT = {**os.environ, "MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


class Server:
    """fake.py --serve: a process of its own for every run."""

    def __init__(self):
        self.process = subprocess.Popen(
            PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=ENVIRONMENT
        )
        self.said, self.peak_kb = "", 0

    def start(self, *arguments):
        """Start a run; gives its process."""
        print(json.dumps([str(a) for a in arguments]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self):
        """How the run ended: 0, 1 after an error made on purpose, or the signal, negative."""
        code, self.said, self.peak_kb = json.loads(self.process.stdout.readline())
        return code

    def run(self, *arguments):
        self.start(*arguments)
        return self.wait()

    def close(self):
        """End the server and whatever run a failed test has left."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def second_server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = fill(tmp_path_factory.mktemp("sounds"), 150)
    break_twelve_ways(folder / "b" / "broken")
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder, server, tmp_path_factory):
    """The tree of a run left alone."""
    out = tmp_path_factory.mktemp("straight") / "out"
    assert server.run(out, folder) == 0, server.said
    return tree(out)


def wait_for_progress(out, pid, num_lines):
    """Until the process has begun, and recorded so many parts, or ended."""
    ledger, lock = out / "ledger.jsonl", out / "lock"
    while Path(f"/proc/{pid}").exists():
        if num_lines == 0 and lock.exists():
            return
        if num_lines and ledger.exists() and ledger.read_bytes().count(b"\n") >= num_lines:
            return
        time.sleep(0.0005)


def only_long(*values):
    skip = pytest.mark.skipif(LONG not in os.environ, reason=f"takes long; {LONG}=1 runs it")
    return pytest.param(*values, marks=skip)


@pytest.mark.parametrize("num_wanted", [12, only_long(100)])
def test_killed_at_random_moments(folder, undisturbed, server, tmp_path, num_wanted):
    draw = random.Random(SEED)
    num_parts = undisturbed["ledger.jsonl"].count(b"\n")
    num_kills = num_killed = number = 0
    while num_kills < num_wanted:
        out, number, code = tmp_path / f"out{number}", number + 1, None
        # Killed again and again, until a run gets to its end.
        while code != 0:
            pid = server.start(out, folder)
            if num_kills < num_wanted:
                done = (out / "ledger.jsonl").read_bytes().count(b"\n") if (out / "ledger.jsonl").exists() else 0
                wait_for_progress(out, pid, draw.choice([0, draw.randint(done, num_parts)]))
                time.sleep(draw.uniform(0, 0.03))
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)
                num_kills += 1
            code = server.wait()
            assert code in (0, -signal.SIGKILL)
            num_killed += code != 0
        assert tree(out) == undisturbed
    # The others had just ended when they were to be killed.
    assert num_killed > num_wanted / 2


def test_two_runs_in_one_folder_do_not_meet(folder, undisturbed, server, second_server, tmp_path):
    first = server.start(tmp_path / "out", folder, "--sleep-ms", 60000)
    wait_for_progress(tmp_path / "out", first, 0)
    while not (tmp_path / "out" / "run.json").exists():
        time.sleep(0.002)
    code = second_server.run(tmp_path / "out", folder)
    os.kill(first, signal.SIGKILL)
    assert code == 1 and f"another run is at work here (process {first})" in second_server.said
    assert server.wait() == -signal.SIGKILL
    assert second_server.run(tmp_path / "out", folder) == 0
    assert tree(tmp_path / "out") == undisturbed


def test_a_full_disk_ends_the_run_with_one_error_and_what_is_done_is_kept(folder, undisturbed, server, tmp_path):
    manifest, ledger = (len(undisturbed[name]) for name in ("manifest.parquet", "ledger.jsonl"))
    for limit in (100, manifest - 1, ledger // 2):
        out = tmp_path / f"out{limit}"
        assert server.run(out, folder, "--limit-bytes", limit) == 1
        assert re.search(f"OutputError.*{out}: cannot be written to: .*File too large", server.said)
        assert not list(out.rglob("*.tmp"))
        assert server.run(out, folder) == 0
        assert tree(out) == undisturbed


@pytest.mark.parametrize(("few", "many"), [(1000, 4000), only_long(1000, 20000)])
def test_memory_does_not_grow_with_the_corpus(server, tmp_path, few, many):
    soundfile.write(tmp_path / "x.wav", np.tile(tone(0), 5), 16000)
    peaks = []
    for count in (few, many):
        (tmp_path / "list.csv").write_text("path,id\n" + "".join(f"x.wav,{i}\n" for i in range(count)))
        assert server.run(tmp_path / f"out{count}", tmp_path / "list.csv", "--part-rows", 64) == 0, server.said
        peaks.append(server.peak_kb)
    # A sound is 16 kB of samples: 3,000 of them are 48 MB.
    assert peaks[1] < 1.1 * peaks[0], peaks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, for as long as the test lasts."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", place], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_full_and_then_has_room_again(folder, undisturbed, server, small_disk):
    (small_disk / "ballast").write_bytes(b"x" * 200_000)
    assert server.run(small_disk / "out", folder) == 1
    assert "No space left on device; what is done is kept, start again" in server.said
    (small_disk / "ballast").unlink()
    assert server.run(small_disk / "out", folder) == 0, server.said
    assert tree(small_disk / "out") == undisturbed


def test_a_disk_that_becomes_read_only_is_named(folder, undisturbed, server, small_disk):
    assert server.run(small_disk / "out", folder) == 0, server.said
    (small_disk / "out" / "vectors" / "part-000000.parquet").unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert server.run(small_disk / "out", folder) == 1
    assert "cannot be written to: Read-only file system" in server.said
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert server.run(small_disk / "out", folder) == 0 and tree(small_disk / "out") == undisturbed


def test_a_place_that_cannot_be_written_to_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    for place, said in ((tmp_path / "file", "is a file; wanted a folder"), (Path("/proc/out"), "cannot be written to")):
        with pytest.raises(InputError, match=f"{place}: {said}"):
            run_bulk([str(folder)], place, FakeEncoder)
