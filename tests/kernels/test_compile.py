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
def test_every_kernel_compiles_without_spills_and_is_listed(tmp_path):
    # Its own process: in this one, kernels may be interpreted.
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "harken.kernels.aot", "--write", str(tmp_path / "found.md")]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    (found_by, found), (kept_by, kept) = (_table(path) for path in (tmp_path / "found.md", KEPT))
    assert found
    if found_by == kept_by:
        assert found == kept, f"run: {' '.join(command[1:-1])} {KEPT}"
    else:
        # Another Triton gives other registers.
        assert {row.split("|")[1] for row in found} == {row.split("|")[1] for row in kept}


def _table(path: Path) -> tuple[str, list[str]]:
    """The Triton that compiled, and the rows."""
    lines = path.read_text().splitlines()
    return next(line for line in lines if "triton" in line), [line for line in lines if line.startswith("| ")][1:]
