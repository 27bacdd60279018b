"""The benchmarks of functions run, each once and untimed."""

import subprocess
import sys

import harken.bench.functions as functions


def test_every_function_runs():
    command = [sys.executable, "-P", "-m", "pytest", "--import-mode=importlib", "-q", "--benchmark-disable", "-p"]
    done = subprocess.run([*command, "no:cacheprovider", functions.__path__[0]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
