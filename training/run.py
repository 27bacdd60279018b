"""One run from its settings: `harken train SETTINGS`, or on several processes

    torchrun --nproc-per-node 2 -m harken.training.run SETTINGS

Source: own.
"""

import json
import sys
from pathlib import Path
from typing import Any

from . import parallel
from .config import load_settings


def train_run(path: Path, out: Path | None = None) -> dict[str, float]:
    """Train to the end; the last validation. Arguments as of `harken train`."""
    changes: dict[str, Any] = {} if out is None else {"out": str(out)}
    settings = load_settings(path, **changes)
    from .loop import Loop
    from .stages import make_task

    with parallel.process_group():
        loop = Loop(make_task(settings), settings)
        if parallel.is_first():
            if loop.step:
                print(f"{loop.out}: {loop.step} of {settings.optim.num_steps} steps are done already", file=sys.stderr)
            (loop.out / "settings.json").write_text(json.dumps(settings.to_dict(), indent=1) + "\n")
        return loop.go()


if __name__ == "__main__":
    train_run(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
