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

import pytest

from harken.engine.bulk import run_bulk
from harken.errors import InputError

from .fake import FakeEncoder
from .sounds import break_twelve_ways, fill
from .test_runner import tree

NUM_KILLS = 100
PROGRAM = [sys.executable, str(Path(__file__).with_name("fake.py")), "--serve"]
SEED = 11


class Server:
    """fake.py --serve: a process of its own for every run."""

    def __init__(self):
        self.process = subprocess.Popen(
            PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.said = ""

    def start(self, *arguments):
        """Start a run; gives its process."""
        print(json.dumps([str(a) for a in arguments]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self):
        """How the run ended: 0, 1 after an error made on purpose, or the signal, negative."""
        code, self.said = json.loads(self.process.stdout.readline())
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


def test_killed_at_a_hundred_random_moments(folder, undisturbed, server, tmp_path):
    draw = random.Random(SEED)
    num_parts = undisturbed["ledger.jsonl"].count(b"\n")
    num_kills = num_killed = number = 0
    while num_kills < NUM_KILLS:
        out, number, code = tmp_path / f"out{number}", number + 1, None
        # Killed again and again, until a run gets to its end.
        while code != 0:
            pid = server.start(out, folder)
            if num_kills < NUM_KILLS:
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
    assert num_killed > NUM_KILLS / 2


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


def test_a_place_that_cannot_be_written_to_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    for place, said in ((tmp_path / "file", "is a file; wanted a folder"), (Path("/proc/out"), "cannot be written to")):
        with pytest.raises(InputError, match=f"{place}: {said}"):
            run_bulk([str(folder)], place, FakeEncoder)
