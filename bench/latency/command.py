"""`harken bench run / ablation / growth / functions / report`.

Source: own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ...engine.cli.app import app
from ...engine.cli.output import errors_as_lines, fail, say

FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

bench_app = typer.Typer(help="What the engine costs, against what a user would run instead.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


@bench_app.command("run", context_settings=FORWARD)
def run(context: typer.Context) -> None:
    """MLPerf's scenarios; `harken bench run --help` tells its options."""
    from . import run as scenarios

    with errors_as_lines():
        scenarios.main(context.args)


@bench_app.command("growth", context_settings=FORWARD)
def growth(context: typer.Context) -> None:
    """Time and memory against what grows; `harken bench growth --help` tells its options."""
    from . import growth as growing

    with errors_as_lines():
        growing.main(context.args)


@bench_app.command("ablation", context_settings=FORWARD)
def ablation(context: typer.Context) -> None:
    """What each part is worth; `harken bench ablation --help` tells its options."""
    from . import ablation as switching

    with errors_as_lines():
        switching.main(context.args)


@bench_app.command("functions")
def functions(
    out: Annotated[Path | None, typer.Option("--out", help="JSON file of pytest-benchmark to write")] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", help="File of one JSON line a run to add to, such as bench/history.jsonl"),
    ] = None,
    only: Annotated[str, typer.Option("-k", help="Functions whose name holds this")] = "",
) -> None:
    """One call of each part, by pytest-benchmark."""
    from .. import functions as folder
    from ..report.collect import read_result

    chosen = out or Path("functions.json")
    tests = str(Path(folder.__path__[0]))
    command = [sys.executable, "-P", "-m", "pytest", "--import-mode=importlib", "-q", "--benchmark-only", tests]
    if subprocess.run([*command, f"--benchmark-json={chosen}", "-k", only]).returncode:
        raise fail("pytest failed; its output says where")
    result = read_result(chosen)
    say(f"{chosen}: {len(result.rows)} functions")
    if history is not None:
        line = {
            "date": result.date,
            "machine": result.machine,
            "median_ms": {row["function"]: row["median_ms"] for row in result.rows},
        }
        with history.open("a") as file:
            file.write(json.dumps(line) + "\n")


@bench_app.command("report")
def report(
    results: Annotated[Path, typer.Option("--results", help="Folder of results")] = Path("bench/results"),
    out: Annotated[Path, typer.Option("-o", "--out", help="Markdown file to write")] = Path("PERFORMANCE.md"),
    page: Annotated[Path | None, typer.Option("--page", help="HTML page to write too")] = None,
    history: Annotated[Path, typer.Option("--history", help="Lines of `harken bench functions`")] = Path(
        "bench/history.jsonl"
    ),
) -> None:
    """Tables and pictures of all results in a folder."""
    from ..report.write import render_markdown, render_page

    if not results.is_dir():
        raise fail(f"{results}: there is no such folder of results")
    with errors_as_lines():
        out.write_text(render_markdown(results))
        say(f"wrote {out}")
        if page is not None:
            page.write_text(render_page(results, history))
            say(f"wrote {page}")
