"""PERFORMANCE.md and report.html from a folder of results.

Source: own.
"""

import html
import json
from collections.abc import Sequence
from pathlib import Path

from .collect import Result, read_results
from .pictures import history, pictures
from .tables import by_kind, left_out, markdown, table_rows

HEAD = """# Performance

Measured figures alone, each with its machine; a machine that others used at the same time is noisy, so the ratios of one
run count, not figures of different runs. Written by `harken bench report` from the files it names; not edited by hand.
What was never measured is not here.

"""
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;padding:.2rem .5rem;"
    "text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def render_markdown(folder: Path) -> str:
    """The text of PERFORMANCE.md."""
    return HEAD + markdown(read_results(folder))


def render_page(folder: Path, history_file: Path | None = None) -> str:
    """One page of HTML with every table and picture in it."""
    results = read_results(folder)
    parts = [_part(title, of_kind) for title, of_kind in by_kind(results)]
    if history_file is not None and history_file.is_file():
        lines = [json.loads(line) for line in history_file.read_text().splitlines()]
        parts.append(f"<h2>Single functions over time</h2>{history(lines)}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>harken: performance</title><style>{STYLE}</style>'
        f"<h1>harken: performance</h1>{''.join(parts)}</html>\n"
    )


def _part(title: str, of_kind: Sequence[Result]) -> str:
    body = "".join(
        f"<p>{html.escape(result.what)}. {html.escape(result.machine)}. {html.escape(result.file)}</p>"
        f"{''.join(pictures(result))}{_table(result)}<p>{html.escape(left_out(result))}</p>"
        for result in of_kind
    )
    return f"<h2>{html.escape(title)}</h2>{body}"


def _table(result: Result) -> str:
    rows = table_rows(result)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cell = lambda value: (
        f"{value:.4g}" if isinstance(value, float) else "" if value is None else html.escape(str(value))
    )
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell(row.get(c))}</td>" for c in columns) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
