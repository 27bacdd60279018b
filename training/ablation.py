"""One run a row of a table and seed, each with a few settings changed, and what validation says of them.

    {"settings": "mini-heads.json", "seeds": [0, 1, 2],
     "rows": {"InfoNCE": {}, "batches of 64": {"batch": {"batch_size": 64}}}}

    python -m harken.training.ablation TABLE.json --out FOLDER

A run that is done is not run again; one that was stopped goes on.

Source: own; tables in the form of AuroLA's Table 5 (spec/recipes.md C.8).
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.cli.output import run_module
from ..errors import InputError
from .config import load_settings, settings_from
from .loop import Loop
from .stages import make_task


@dataclass(frozen=True, slots=True)
class Ablation:
    """What a table file holds: the settings' plain values, and by row what is changed."""

    settings: Mapping[str, Any]
    seeds: Sequence[int]
    rows: Mapping[str, Mapping[str, Any]]


def read_ablation(path: Path) -> Ablation:
    """The table in a file; `settings` is relative to it.

    Raises:
        InputError: it cannot be read as one.
    """
    try:
        values = json.loads(path.read_text())
        base, seeds, rows = values["settings"], values["seeds"], values["rows"]
        merged = {name: merge({}, changes) for name, changes in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: wanted an object of settings, seeds and rows: {error!r}") from None
    if not seeds or not merged:
        raise InputError(f"{path}: there are {len(seeds)} seeds and {len(merged)} rows; wanted one of each or more")
    return Ablation(load_settings(path.parent / base).to_dict(), seeds, merged)


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, objects inside objects merged; an object whose key ends in "=" takes the other's place."""
    out = dict(values)
    for key, change in changes.items():
        if key.endswith("="):
            out[key[:-1]] = change
        else:
            is_object = isinstance(change, Mapping)
            out[key] = merge(out.get(key) or {}, change) if is_object else change
    return out


def run(table: Ablation, out: Path) -> dict[str, list[dict[str, float]]]:
    """The last validation of each row's runs, one a seed; kept in OUT/results.json as they come."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.json"
    done: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.is_file() else {}
    for name, changes in table.rows.items():
        for seed in table.seeds:
            key = f"{name}, seed {seed}"
            if key in done:
                continue
            folder = out / re.sub(r"[^a-z0-9]+", "-", key.lower())
            settings = settings_from(merge(table.settings, {**changes, "seed": seed, "out": str(folder)}), key)
            print(key, file=sys.stderr)
            Loop(make_task(settings), settings).go()
            done[key] = last_validation(folder / "log.jsonl")
            file.write_text(json.dumps(done, indent=1) + "\n")
    return {name: [done[f"{name}, seed {seed}"] for seed in table.seeds] for name in table.rows}


def last_validation(log: Path) -> dict[str, float]:
    """What a run's log says of its last validation."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["validation"] for line in lines if "validation" in line][-1]


def as_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Markdown: in percent, the mean over the seeds and the standard deviation between them."""
    columns = [name for name in next(iter(found.values()))[0] if "R@" in name]
    lines = ["| row | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, runs in found.items():
        values = [[100 * one[column] for one in runs] for column in columns]
        cells = [f"{statistics.mean(v):.1f}" + (f" ± {statistics.stdev(v):.1f}" if len(v) > 1 else "") for v in values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.ablation", description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path, help="the rows (.json)")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs and results.json")
    args = parser.parse_args(argv)
    try:
        print(as_table(run(read_ablation(args.table), args.out)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_module(main)
