"""One Markdown table a result.

Source: own.
"""

import math
from collections.abc import Sequence
from typing import Any

from .collect import Result, Row
from .roofline import share_of_limit

TITLES = {
    "encode": "Embedding: clips a second",
    "scenarios": "Scenarios of MLPerf",
    "ablation": "What each part is worth",
    "growth": "Growth",
    "rerank": "Re-ranking one query's candidates",
    "bulk": "Bulk",
    "kernels": "Kernels, and how near they are to the machine's limit",
    "functions": "Single functions",
    "train": "Training",
    "csrc": "The C++ core",
}
# What of a row stands in the file alone.
HIDDEN = {"scenarios": ("samples", "seconds"), "train": ("source",)}
# What of a kernel's row says what was run.
SHAPE = ("dtype", "clips", "seconds", "rows", "width", "queries", "k", "B", "T", "W")


def markdown(results: Sequence[Result]) -> str:
    """All results, by kind; within a kind in order of their files."""
    parts = []
    for title, of_kind in by_kind(results):
        parts.append(f"## {title}\n")
        parts += [_section(result) for result in of_kind]
    return "\n".join(parts)


def by_kind(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Title and results of each kind that there is: those of TITLES in its order, then any other under its own name."""
    kinds = list(dict.fromkeys([*TITLES, *sorted(result.bench for result in results)]))
    named = [(kind, [result for result in results if result.bench == kind]) for kind in kinds]
    return [(TITLES.get(kind, kind.capitalize()), found) for kind, found in named if found]


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of flat rows; columns in order of appearance, numbers to the right."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {c: all(isinstance(row.get(c), (int, float, type(None))) for row in rows) for c in columns}
    head = "| " + " | ".join(columns) + " |"
    rule = "|" + "|".join("---:" if numeric[c] else "---" for c in columns) + "|"
    body = ["| " + " | ".join(_shown(row.get(c)) for c in columns) + " |" for row in rows]
    return "\n".join([head, rule, *body]) + "\n"


def table_rows(result: Result) -> list[Row]:
    """A result's rows as its table has them."""
    if result.bench == "kernels":
        return _kernels(result.rows)
    left = HIDDEN.get(result.bench, ())
    # A paper's figure for what was not measured here stands as the last row.
    cited = result.settings.get("published")
    rows = [*result.rows, *([cited] if cited else [])]
    return _flat([{name: value for name, value in row.items() if name not in left} for row in rows])


def left_out(result: Result) -> str:
    """What a result says was not run or failed, as one sentence; empty where all ran."""
    parts = []
    for name, word in (("absent", "Not run"), ("failed", "FAILED")):
        told = result.settings.get(name) or {}
        if told:
            parts.append(f"{word}: " + "; ".join(f"{system}: {reason}" for system, reason in told.items()) + ".")
    return " ".join(parts)


def _section(result: Result) -> str:
    told, link = left_out(result), f"[{result.file}](bench/results/{result.file})"
    rows = table(table_rows(result))
    return f"{result.what}. {result.machine}. {link}\n\n{rows}" + (f"\n{told}\n" if told else "")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).replace("|", "/")
    if isinstance(value, int) or value == 0:
        return str(value)
    if abs(value) >= 100:
        return f"{value:.0f}"
    if 0.99 < value < 1 - 1e-6:
        # A cosine: two digits of what it lacks.
        return f"{value:.{1 - math.floor(math.log10(1 - value))}f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def _flat(rows: Sequence[Row]) -> list[Row]:
    """Dictionaries within a row become columns of their own; lists are left out; bytes are told in MB, shares in percent."""
    flat = []
    for row in rows:
        out: Row = {}
        for name, value in row.items():
            if isinstance(value, dict):
                out |= {f"{name} {inner}": found for inner, found in value.items()}
            elif name == "bytes" or name.endswith("_bytes"):
                out[f"{name.removesuffix('bytes')}MB".replace("_", " ")] = None if value is None else value / 1e6
            elif name == "mfu":
                out["MFU %"] = None if value is None else 100 * value
            elif not isinstance(value, list):
                out[name] = value
        flat.append(out)
    return flat


def _kernels(rows: Sequence[Row]) -> list[Row]:
    shown = []
    for row in rows:
        shape = " ".join(f"{row[name]}" if name == "dtype" else f"{name}={row[name]}" for name in SHAPE if name in row)
        share = share_of_limit(row)
        shown.append(
            {
                "op": row["op"],
                "way": row["way"],
                "shape": shape,
                "ms": row["ms_p50"],
                "floor ms": None if share is None else share.floor_ms,
                "% of limit": None if share is None else round(100 * share.share),
                "limit": "" if share is None else share.limit,
                "times harken's": row.get("ratio"),
            }
        )
    return shown
