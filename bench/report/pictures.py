"""Pictures of results as SVG, by matplotlib.

Source: own.
"""

import io
from collections.abc import Sequence
from typing import Any

from .collect import Result, Row
from .roofline import share_of_limit


def pictures(result: Result) -> list[str]:
    """The pictures that a result of this kind has; none for most."""
    if result.bench == "growth":
        return [_growth(result.rows)]
    if result.bench == "kernels":
        return [_roofline(result.rows)]
    if result.bench == "scenarios":
        return [_latencies(result.rows)]
    return []


def history(lines: Sequence[Row]) -> str:
    """Median milliseconds of each function over the runs of bench/history.jsonl."""
    figure, axes = _axes("run", "median ms", log_y=True)
    for name in sorted({name for line in lines for name in line["median_ms"]}):
        points = [(i, line["median_ms"][name]) for i, line in enumerate(lines) if name in line["median_ms"]]
        axes.plot(*zip(*points), marker="o", label=name)
    axes.set_xticks(range(len(lines)), [line["date"] for line in lines], rotation=45)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _growth(rows: Sequence[Row]) -> str:
    figure, axes = _axes("size", "ms", log_x=True, log_y=True)
    for axis in dict.fromkeys(row["axis"] for row in rows):
        own = [row for row in rows if row["axis"] == axis]
        label = f"{axis}: exponent {own[0]['exponent']:.2f}, at the end {own[0]['last_exponent']:.2f}"
        axes.plot([row["size"] for row in own], [row["ms"] for row in own], marker="o", label=label)
    axes.legend(fontsize=8)
    return _svg(figure)


def _roofline(rows: Sequence[Row]) -> str:
    figure, axes = _axes("floor, ms", "measured, ms", log_x=True, log_y=True)
    ways = dict.fromkeys(row["way"] for row in rows)
    for way in ways:
        found = [
            (share.floor_ms, row["ms_p50"]) for row in rows if row["way"] == way and (share := share_of_limit(row))
        ]
        if found:
            axes.scatter(*zip(*found), s=14, label=way)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="grey", linewidth=1, label="the machine's limit")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _latencies(rows: Sequence[Row]) -> str:
    figure, axes = _axes("ms", "", log_x=True)
    # A server without a rate that keeps the bound has no latencies.
    streamed = [row for row in rows if row["scenario"] != "Offline" and "p50_ms" in row]
    names = [f"{row['system']}, {row['scenario']}, {row['workload']}, {row['boundary']}" for row in streamed]
    for place, row in enumerate(streamed):
        axes.plot([row["p50_ms"], row["p99_ms"]], [place, place], color="tab:blue")
        axes.scatter([row["p50_ms"], row["p90_ms"], row["p99_ms"]], [place] * 3, s=12, color="tab:blue")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title("p50, p90, p99", fontsize=9)
    return _svg(figure)


def _axes(x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xscale("log" if log_x else "linear")
    axes.set_yscale("log" if log_y else "linear")
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
