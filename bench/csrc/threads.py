"""One bench in a process of its own for every number of threads, so that every library in it has exactly these.

Source: own; OpenMP, OpenBLAS and MKL read their number of threads once, when they are loaded.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def with_threads(module: str, arguments: Sequence[str], threads: Sequence[int]) -> int:
    """Run `python -m module ARGUMENTS --threads N` for every N; gives the first status that is not 0."""
    status = 0
    for number in threads:
        environment = os.environ | dict.fromkeys(VARIABLES, str(number))
        command = [sys.executable, "-P", "-m", module, *arguments, "--threads", str(number)]
        status = subprocess.run(command, env=environment).returncode or status
    return status
