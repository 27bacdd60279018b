"""The memory bench runs at its smallest sizes, and shows that an export holds one layer and not the model."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")


def run(place, *args):
    command = [sys.executable, "-m", "harken.bench.export_memory", str(place), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_never_held_whole(tmp_path):
    """Mapped pages of the checkpoint count once; golden vectors are in float32, which held whole would be twice more."""
    least, told = run(tmp_path, "--size", "tiny"), run(tmp_path, "--size", "small")
    assert told["written_bytes"] > told["checkpoint_bytes"] > 200e6
    assert told["peak_bytes"] - least["peak_bytes"] < 2.5 * told["checkpoint_bytes"]
