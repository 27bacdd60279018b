"""`harken bulk`: a corpus embedded in one go that may be killed and started again."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from .app import AdapterOption, DeviceOption, DtypeOption, JsonOption, ModelOption, RecipeOption, app, load_model
from .output import SOME_FAILED, emit_facts, errors_as_lines, say

if TYPE_CHECKING:
    from ..bulk import BulkReport, Manifest, Progress

# As a shell tells it of a program that Ctrl-C ended.
STOPPED = 130
# Between two lines of --json, and two writes of --prometheus.
TELL_EVERY_S = 2.0


@app.command()
def bulk(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Folders, patterns, sound files, lists (.csv .tsv .jsonl .parquet), tars; paths or URLs"),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write; one that a run began is gone on with")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens a batch")] = None,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For recipes that take one")] = None,
    format: Annotated[str, typer.Option("--format", help="parquet, or npy with metadata beside it")] = "parquet",
    store: Annotated[str, typer.Option("--store", help="Vectors as float32, float16 or int8 with a scale")] = "float32",
    part_rows: Annotated[int, typer.Option("--part-rows", min=1, help="Sounds a part, the unit of going on")] = 4096,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="That read and decode [cores]")] = None,
    duplicates: Annotated[
        str, typer.Option("--duplicates", help="Two sounds of one id: refuse, or keep the first")
    ] = "refuse",
    num_first: Annotated[
        int | None, typer.Option("--first", min=1, help="Only that many sounds from the front")
    ] = None,
    index: Annotated[Path | None, typer.Option("--index", help="Then build an index of all vectors here")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Do parts with failures anew")] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Hash the parts found done")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the sounds and say what is wrong")] = False,
    max_error_rate: Annotated[
        float, typer.Option("--max-error-rate", min=0, max=1, help="Exit 0 up to this share of failed sounds")
    ] = 0.0,
    prometheus: Annotated[Path | None, typer.Option("--prometheus", help="Keep counters in this text file")] = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a corpus of any size, part by part. Started again after a kill, it does what is missing.

    The first Ctrl-C finishes the part in hand, the second ends at once; both keep what is done.
    """
    with errors_as_lines():
        from ..bulk import LocalEngine, Settings, run_bulk
        from ..vectors import made_with

        settings = Settings(format, store, part_rows, instruction)
        if duplicates not in ("refuse", "first"):
            raise typer.BadParameter(f"is {duplicates!r}; wanted refuse or first", param_hint="--duplicates")
        which = cast(Literal["refuse", "first"], duplicates)
        if dry_run:
            _dry_run(inputs, which, num_first, as_json)
            return

        def load() -> Any:
            return load_model(model, recipe, adapter, device, dtype, batch_tokens)

        with _stop_at_interrupt() as stop, _told(as_json, prometheus) as tell:
            report = run_bulk(
                inputs,
                out,
                load,
                settings=settings,
                engine=LocalEngine(threads),
                duplicates=which,
                num_first=num_first,
                made_with=made_with,
                verify=verify,
                retry_errors=retry_errors,
                stop=stop,
                on_manifest=_say_manifest,
                on_progress=tell,
            )
        if index is not None and report.finished:
            from ..bulk.index import index_run

            index_run(out, index)
    _end(report, out, as_json, prometheus)
    if not report.finished:
        raise typer.Exit(STOPPED)
    if report.progress.num_failed > max_error_rate * report.progress.num_rows:
        raise typer.Exit(SOME_FAILED)


def _dry_run(inputs: list[str], duplicates: Literal["refuse", "first"], num_first: int | None, as_json: bool) -> None:
    from tempfile import TemporaryDirectory

    from ..bulk import freeze

    with TemporaryDirectory() as folder:
        manifest = freeze(inputs, Path(folder) / "manifest.parquet", duplicates=duplicates, num_first=num_first)
    _say_manifest(manifest)
    emit_facts(
        {
            "sounds": manifest.num_rows,
            "bytes": manifest.num_bytes,
            "missing": manifest.num_missing,
            "repeated": manifest.num_repeated,
            "left out": manifest.num_dropped,
            "sha256": manifest.sha256,
        },
        as_json,
    )


def _say_manifest(manifest: "Manifest") -> None:
    say(f"{manifest.num_rows} sounds, {manifest.num_bytes / 1e9:.3f} GB")
    for number, what, names in (
        (manifest.num_missing, "files are not there", manifest.missing),
        (manifest.num_repeated, "sounds are listed again under another id", manifest.repeated),
    ):
        if number:
            say(f"{number} {what}: {', '.join(names)}{' ...' if number > len(names) else ''}")
    if manifest.num_dropped:
        say(f"{manifest.num_dropped} sounds are left out, because an earlier one has their id")


@contextmanager
def _stop_at_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second is an ordinary one."""
    stop = threading.Event()

    def interrupt(*_: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("finishing the part in hand; Ctrl-C again to end at once")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _told(as_json: bool, prometheus: Path | None) -> Iterator[Callable[["Progress"], None]]:
    """A function that shows progress: a bar on a terminal, JSON lines if asked for, counters in a file."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last = 0.0
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("embedding", total=None)

        def tell(progress: "Progress") -> None:
            nonlocal last
            rate, hours = progress.clips_per_s, progress.audio_now_s / max(progress.wall_s, 1e-9)
            text = f"{rate:.1f} clips/s, {hours:.0f} h of sound an hour, {progress.num_failed} failed"
            bar.update(task, completed=progress.num_done, total=progress.num_rows, description=text)
            if monotonic() - last < TELL_EVERY_S:
                return
            last = monotonic()
            if as_json:
                print(json.dumps({"event": "progress", **progress.to_dict()}), flush=True)
            if prometheus is not None:
                _write_prometheus(prometheus, progress)

        yield tell


def _write_prometheus(path: Path, progress: "Progress") -> None:
    """Counters in the text format of Prometheus, replaced in one step as node_exporter's textfile collector wants it."""
    values = {
        "rows": ("gauge", "Sounds of the manifest", progress.num_rows),
        "done_total": ("counter", "Sounds embedded or failed", progress.num_done),
        "failed_total": ("counter", "Sounds that failed", progress.num_failed),
        "audio_seconds_total": ("counter", "Seconds of sound embedded", progress.audio_s),
        "clips_per_second": ("gauge", "Rate of this run", progress.clips_per_s),
    }
    lines = [
        f"# HELP harken_bulk_{name} {told}\n# TYPE harken_bulk_{name} {kind}\nharken_bulk_{name} {value}\n"
        for name, (kind, told, value) in values.items()
    ]
    aside = path.with_name(path.name + ".tmp")
    try:
        aside.write_text("".join(lines))
        aside.replace(path)
    except OSError as error:
        # The run matters more than its counters.
        say(f"{path}: cannot be written: {error.strerror}")


def _end(report: "BulkReport", out: Path, as_json: bool, prometheus: Path | None) -> None:
    progress = report.progress
    if prometheus is not None:
        _write_prometheus(prometheus, progress)
    if as_json:
        print(json.dumps({"event": "end", **report.to_dict()}), flush=True)
        return
    if report.num_parts_redone:
        say(f"{report.num_parts_redone} parts were found damaged and are done anew")
    facts: dict[str, Any] = {
        "sounds": f"{progress.num_done} of {progress.num_rows}",
        "failed": progress.num_failed,
        **{f"  {kind}": number for kind, number in report.errors.items()},
        "hours of sound": f"{progress.audio_s / 3600:.2f}",
        "done now": f"{progress.num_now} sounds in {progress.wall_s:.1f} s, {progress.clips_per_s:.2f} clips/s",
    }
    if report.limit:
        busy = ", ".join(f"{stage} {share:.0%}" for stage, share in report.stage_load.items())
        facts["busy"] = f"{busy}; the limit was {report.limit}"
    emit_facts({**facts, "folder": str(out)}, as_json=False)
    if progress.num_failed:
        say(f"what failed and why: {out / 'errors.parquet'}")
    sys.stdout.flush()
