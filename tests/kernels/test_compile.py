"""Every kernel compiles for every GPU generation at its production block sizes: no spill, tensor cores where meant."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harken import kernels

KEPT = Path(kernels.__file__).with_name("RESOURCES.md")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
# Minutes where Triton's cache is empty and the machine busy.
@pytest.mark.timeout(1200)
def test_every_kernel_compiles_without_spills_and_is_listed():
    # Its own process: in this one, kernels may be interpreted.
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run([sys.executable, "-m", "harken.kernels.aot"], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    kept = KEPT.read_text()
    compiled = [line.split(" sm_")[0].strip() for line in run.stdout.splitlines() if " sm_" in line]
    assert compiled
    assert [name for name in compiled if f"| {name} |" not in kept] == []
