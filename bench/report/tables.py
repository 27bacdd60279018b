"""One Markdown table a result.

Source: own.
"""

from collections.abc import Callable, Sequence
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
}
# What of a kernel's row says what was run.
SHAPE = ("dtype", "clips", "seconds", "rows", "width", "queries", "k", "tokens", "sequences", "heads")


def markdown(results: Sequence[Result]) -> str:
    """All results, by kind; within a kind in order of their files."""
    parts = []
    for bench, title in TITLES.items():
        of_kind = [result for result in results if result.bench == bench]
        if of_kind:
            parts.append(f"## {title}\n")
            parts += [_section(result) for result in of_kind]
    unknown = sorted({result.bench for result in results} - set(TITLES))
    if unknown:
        raise ValueError(f"no title for the results of {unknown}")
    return "\n".join(parts)


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
    return _TABLES.get(result.bench, _flat)(result.rows)


def _section(result: Result) -> str:
    return (
        f"{result.what}. {result.machine}. [{result.file}](bench/results/{result.file})\n\n{table(table_rows(result))}"
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).replace("|", "/")
    if isinstance(value, int) or value == 0:
        return str(value)
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def _flat(rows: Sequence[Row]) -> list[Row]:
    """Dictionaries within a row become columns of their own; lists are left out."""
    flat = []
    for row in rows:
        out: Row = {}
        for name, value in row.items():
            if isinstance(value, dict):
                out |= {f"{name} {inner}": found for inner, found in value.items()}
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


_TABLES: dict[str, Callable[[Sequence[Row]], list[Row]]] = {"kernels": _kernels}
