"""Captions of many rows into one JSONL file, a line a row and task, that may be killed and gone on with.

Lines are added as they come and synced to the disk batch by batch.

Source: own.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ...engine.audio import Waveform
from ...errors import AudioError, BackendError, InputError, OutputError
from ..data.row import Row
from ..data.sounds import load_sounds
from .captioner import Captioner, NoReply, Request
from .lines import as_line, done_before, sync
from .task import CaptionTask

# So many failures one after another are no item's fault.
MAX_FAILURES_IN_A_ROW = 50
# What goes beyond is not sent: the papers' models hear 30 s.
MAX_AUDIO_S = 30.0


@dataclass(slots=True)
class CaptionReport:
    """What a run did."""

    num_done: int = 0
    num_failed: int = 0
    # Found done in the file.
    num_before: int = 0


def write_captions(
    rows: Sequence[Row],
    tasks: Sequence[CaptionTask],
    captioner: Captioner,
    out: str | Path,
    *,
    seed: int = 0,
    batch_size: int = 16,
    num_attempts: int = 2,
    max_audio_s: float = MAX_AUDIO_S,
    retry_errors: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CaptionReport:
    """Ask a model every task about every row.

    Args:
        rows: with sounds where a task wants to hear.
        tasks: whose names differ.
        captioner: the model.
        out: the JSONL file; one that is there is gone on with.
        seed: of the model's sampling; each row, task and attempt has its own.
        batch_size: requests given to the captioner at once, and lines synced at once.
        num_attempts: how often a reply that does not hold what was asked for is asked for again.
        max_audio_s: what of a sound is heard at most.
        retry_errors: also what failed in an earlier run.
        progress: called with the number of requests just done.

    Returns: counts; an item that fails has a line with its error and does not touch the others.

    Raises:
        InputError: two tasks of one name, a task that wants ears from a model without, or a file begun by another model,
            task or seed.
        BackendError: the model answers nothing at all any more; what was done is kept.
        FileFormatError, OutputError: the file is none of this kind, or cannot be written.
    """
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        raise InputError(f"tasks are called {names}; wanted different names")
    if deaf := [task.name for task in tasks if task.hears and not captioner.hears]:
        raise InputError(f"task {deaf[0]!r} wants a model that hears; {captioner.name} does not")
    out, made_with = Path(out), {task.name: _made_with(task, captioner.name, seed) for task in tasks}
    done = done_before(out, made_with, retry_errors)
    report = CaptionReport(num_before=sum((row.id, name) in done for row in rows for name in names))
    todo = ((row, task) for row in rows for task in tasks if (row.id, task.name) not in done)
    failures_in_a_row = 0
    try:
        with out.open("ab") as file:
            while batch := list(islice(todo, batch_size)):
                for (row, task), got in zip(batch, _ask(batch, captioner, seed, num_attempts, max_audio_s)):
                    line = {"id": row.id, "task": task.name, "made_with": made_with[task.name], "model": captioner.name}
                    failed = isinstance(got, NoReply)
                    file.write(
                        as_line({**line, **({"error": got.reason} if isinstance(got, NoReply) else {"reply": got})})
                    )
                    report.num_failed += failed
                    report.num_done += not failed
                    failures_in_a_row = failures_in_a_row + 1 if failed else 0
                sync(file)
                if progress is not None:
                    progress(len(batch))
                if failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                    raise BackendError(
                        f"{captioner.name}: {failures_in_a_row} items failed one after another; see the errors in {out}"
                    )
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return report


def _ask(
    batch: list[tuple[Row, CaptionTask]], captioner: Captioner, seed: int, num_attempts: int, max_audio_s: float
) -> list[dict[str, Any] | NoReply]:
    """What the tasks found out about their rows, in order."""
    got: dict[int, dict[str, Any] | NoReply] = {}
    requests: dict[int, tuple[Request, dict[str, str]]] = {}
    for i, (request, values) in enumerate(_requests(batch, captioner.sample_rate_hz, max_audio_s)):
        if isinstance(request, NoReply):
            got[i] = request
        else:
            requests[i] = request, values
    for attempt in range(num_attempts):
        asked = [replace(r, seed=_seed(r.name, seed, attempt)) for r, _ in requests.values()]
        again = {}
        for (i, (request, values)), reply in zip(requests.items(), captioner.replies(asked) if asked else []):
            if isinstance(reply, NoReply):
                got[i] = reply
                continue
            try:
                got[i] = batch[i][1].parse(reply, values)
            except InputError as error:
                got[i] = NoReply(f"{request.name}: {error}")
                again[i] = request, values
        requests = again
    return [got[i] for i in range(len(batch))]


def _requests(
    batch: list[tuple[Row, CaptionTask]], sample_rate_hz: int, max_audio_s: float
) -> Iterator[tuple[Request | NoReply, dict[str, str]]]:
    # A row's tasks are neighbours and share its sound.
    heard = {id(row): row for row, task in batch if task.hears}
    sounds = {id(row): got for row, got in load_sounds(heard.values(), sample_rate_hz, max_s=max_audio_s)}
    for row, task in batch:
        got = sounds.get(id(row)) if task.hears else None
        if isinstance(got, AudioError):
            yield NoReply(str(got)), {}
            continue
        try:
            values = task.values_of(row)
        except InputError as error:
            yield NoReply(str(error)), {}
            continue
        yield _request(row, task, values, got), values


def _request(row: Row, task: CaptionTask, values: dict[str, str], audio: Waveform | None) -> Request:
    return Request(
        name=f"{row.id} {task.name}",
        system=task.system,
        examples=tuple((task.fill(example.given), example.reply) for example in task.examples),
        text=task.fill(values),
        audio=audio,
        max_tokens=task.max_tokens,
        temperature=task.temperature,
        top_p=task.top_p,
    )


def _seed(name: str, seed: int, attempt: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {attempt} {name}".encode()).digest()[:4], "big") >> 1


def _made_with(task: CaptionTask, model: str, seed: int) -> str:
    told = json.dumps([asdict(task), model, seed], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]
