"""What the commands print: tables for people on standard output, or one JSON object a line for machines.

Progress and messages go to standard error, so that `--json` output can be piped.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ...errors import HarkenError

# Exit codes.
SOME_FAILED, WRONG_INPUT = 1, 2


def say(message: str) -> None:
    """A line for the person, on standard error."""
    print(message, file=sys.stderr)


def fail(message: str) -> typer.Exit:
    """Say what is wrong; raise what this gives."""
    say(f"harken: {message}")
    return typer.Exit(WRONG_INPUT)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """An error made on purpose ends the command with one line and exit code 2, not with a traceback."""
    try:
        yield
    except HarkenError as error:
        raise fail(str(error)) from None


def run_module(main: Callable[[], int]) -> NoReturn:
    """What `python -m` does with a module's `main`: errors as `errors_as_lines` has them."""
    try:
        sys.exit(main())
    except HarkenError as error:
        sys.exit(fail(str(error)).exit_code)


def emit(rows: Iterable[dict[str, Any]], as_json: bool, *, title: str | None = None) -> None:
    """Print rows of one shape as a table, or as JSON lines."""
    rows = list(rows)
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, value in (rows[0] if rows else {}).items():
        table.add_column(name, justify="right" if isinstance(value, (int, float)) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def emit_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Print the facts of one thing, one a line, or as one JSON object."""
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error, nothing elsewhere; gives the function to call with the number just done."""
    console = Console(stderr=True)
    columns: Sequence[Any] = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
