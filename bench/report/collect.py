"""Reads the results of a folder.

    *.json    of record.py ("bench" says of what), and of pytest-benchmark ("benchmarks")
    *.jsonl   of the kernels' benches, one result a line, each with its machine

Results of `harken eval` ("kind": "quality") may lie there too; they have a report of their own.

Source: own.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import FileFormatError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """One file of results."""

    # "kernels", "functions", or what record.py was told.
    bench: str
    file: str
    what: str
    date: str
    # One line: chip, threads or card, versions.
    machine: str
    rows: list[Row]
    settings: Row


def read_results(folder: Path) -> list[Result]:
    """Every result file of a folder, in order of name; other files are left alone.

    Raises:
        FileFormatError: a .json or .jsonl file that is none of ours; the text names it.
    """
    paths = sorted(path for pattern in ("*.json", "*.jsonl") for path in folder.glob(pattern))
    return [read_result(path) for path in paths if not _is_quality(path)]


def _is_quality(path: Path) -> bool:
    with path.open() as file:
        return '"kind": "quality"' in file.read(200)


def read_result(path: Path) -> Result:
    """One result file; errors as `read_results`."""
    try:
        return _lines(path) if path.suffix == ".jsonl" else _record(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise FileFormatError(f"{path}: is no result that the report knows: {error!r}") from None


def _record(path: Path) -> Result:
    values = json.loads(path.read_text())
    if "benchmarks" in values:
        return _functions(path, values)
    machine, versions = values["machine"], values["versions"]
    chip = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    date = values["date"]
    return Result(
        values["bench"], path.name, values["what"], date, f"{chip}; {named}", values["rows"], values["settings"]
    )


def _functions(path: Path, values: Row) -> Result:
    rows = [
        {
            "function": bench["name"],
            "median_ms": 1e3 * bench["stats"]["median"],
            "iqr_ms": 1e3 * bench["stats"]["iqr"],
            "rounds": bench["stats"]["rounds"],
        }
        for bench in values["benchmarks"]
    ]
    info = values["machine_info"]
    machine = f"{info['cpu'].get('brand_raw', info['machine'])}; python {info['python_version']}"
    return Result("functions", path.name, "one call of each part", values["datetime"][:10], machine, rows, {})


def _lines(path: Path) -> Result:
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    first = rows[0]
    named = ", ".join(f"{name} {first[name]}" for name in ("python", "torch", "triton", "numpy") if name in first)
    machine = f"{first['device']}, {first['threads']} threads; {named}"
    return Result("kernels", path.name, "each kernel against its rivals", path.name[:10], machine, rows, {})
