"""`harken bench run / encode / rerank / bulk / ablation / growth / train / functions / report`.

The kernels' benches are run singly: python -m harken.bench.kernels.logmel | pool | topk | glue | linear.

Source: own.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from ...engine.cli.app import app
from ...engine.cli.output import errors_as_lines, fail, say

FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

bench_app = typer.Typer(help="What the engine costs, against what a user would run instead.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


def _forwarded(name: str, module: str, told: str) -> None:
    """A command that hands its arguments to a module's `main`; loaded when it is called, so that help stays fast."""

    def run(context: typer.Context) -> None:
        with errors_as_lines():
            import_module(module, __package__).main(context.args)

    bench_app.command(name, context_settings=FORWARD, help=f"{told}; `harken bench {name} --help` tells more.")(run)


_forwarded(
    "run", ".run", "MLPerf's scenarios on sounds, texts, reranking or search, beside what a user would run instead"
)
_forwarded(
    "encode",
    ".encode",
    "Clips a second from samples to vectors, beside transformers, checkpoints or published sizes",
)
_forwarded("rerank", ".rerank", "Milliseconds and tokens of one query's candidates, beside transformers")
_forwarded("bulk", ".bulk", "Files to stored vectors: harken bulk beside loops over transformers")
_forwarded("ablation", ".ablation", "What each of harken's parts is worth: one switched off at a time")
_forwarded("growth", ".growth", "Time and memory against what grows, with the fitted exponent")
_forwarded("train", "..training.run", "Samples a second in training, beside sentence-transformers and HF Trainer")


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
    # Started from within pytest, it must not take itself for a part of that run.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if subprocess.run([*command, f"--benchmark-json={chosen}", "-k", only], env=environment).returncode:
        raise fail("pytest failed; its output says where")
    without_details(chosen)
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


def without_details(path: Path) -> None:
    """Take from pytest-benchmark's file every single time, the host's name and the state of the checkout."""
    values = json.loads(path.read_text())
    for bench in values["benchmarks"]:
        bench["stats"].pop("data", None)
    values["machine_info"].pop("node", None)
    values.pop("commit_info", None)
    path.write_text(json.dumps(values, indent=1) + "\n")
