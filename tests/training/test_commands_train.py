"""`harken train` where the packages of training are not installed."""

import subprocess
import sys

from harken.engine.cli.output import WRONG_INPUT

# A process of its own: in this one they are imported already.
WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
from harken.engine.cli import application
application()(["train", "run.json"])
"""


def test_without_peft_the_extra_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT_PEFT], capture_output=True, text=True)
    assert done.returncode == WRONG_INPUT and "Traceback" not in done.stderr
    assert "harken: training wants peft: " in done.stderr and "pip install 'harken[train]'" in done.stderr
