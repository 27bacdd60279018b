"""log.jsonl: when what was done. For plots and plans; nothing depends on it, and no two runs have the same.

    {"time", "event": "begin"}   {"time", "event": "part", "part", "num_rows"}   {"time", "event": "end", ...report}

Source: own.
"""

import json
from pathlib import Path
from time import time
from typing import Any

NAME = "log.jsonl"


def note(folder: Path, event: str, **values: Any) -> None:
    """Add a line."""
    with (folder / NAME).open("a") as log:
        log.write(json.dumps({"time": time(), "event": event, **values}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole lines, in order; none where there is no log."""
    path = folder / NAME
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            # The process was killed while it wrote this line.
            continue
    return [line for line in lines if isinstance(line, dict) and {"time", "event"} <= set(line)]
