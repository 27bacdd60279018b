"""What `harken bulk` says while it works and at its end."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from .output import emit_facts, say

if TYPE_CHECKING:
    from ..bulk import BulkReport, Manifest, Progress

# Between two lines of --json, and two writes of --prometheus.
TELL_EVERY_S = 2.0


def say_manifest(manifest: "Manifest") -> None:
    """What will be done, and what is missing or doubled."""
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
def stop_at_interrupt() -> Iterator[threading.Event]:
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
def told(as_json: bool, prometheus: Path | None) -> Iterator[Callable[["Progress"], None]]:
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


def say_end(report: "BulkReport", out: Path, as_json: bool, prometheus: Path | None) -> None:
    """How a run went: counts, failures by kind, and where the time went."""
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
        facts["workers"] = f"{report.num_readers} reading threads, {report.num_models} models"
    emit_facts({**facts, "folder": str(out)}, as_json=False)
    if progress.num_failed:
        say(f"what failed and why: {out / 'errors.parquet'}")
    sys.stdout.flush()
