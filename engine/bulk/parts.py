"""A part on disk: its vectors, its failures, and what the ledger says of them.

Source: own.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from ..durable import TMP, sync, written_aside
from .ledger import FileRecord, Part
from .making import Made
from .rows import ERRORS, write_errors
from .sinks import Sink


def write_part(out: Path, made: Made, sink: Sink) -> Part:
    """Write a part's files, each durably, into a run's folder that no other writer is at work in for this part."""
    paths = sink.write(out, made.part, made.rows)
    errors = _errors_path(out, made.part)
    if made.failures:
        paths.append(write_errors(errors, made.failures))
    else:
        errors.unlink(missing_ok=True)
    return Part(
        made.part,
        made.start,
        made.stop,
        len(made.rows.rows),
        len(made.failures),
        sum(made.rows.durations_s),
        {path.relative_to(out).as_posix(): FileRecord.of(path) for path in paths},
    )


def write_part_aside(out: Path, made: Made, sink: Sink) -> Part:
    """As `write_part` where another process may be writing the same part: each has a folder of its own until the end."""
    with TemporaryDirectory(dir=out, prefix="aside-", suffix=TMP) as aside:
        part = write_part(Path(aside), made, sink)
        for name in part.files:
            place = out / name
            place.parent.mkdir(exist_ok=True)
            os.replace(Path(aside) / name, place)
            sync(place.parent)
    if not made.failures:
        _errors_path(out, made.part).unlink(missing_ok=True)
    return part


def gather_errors(out: Path, parts: Iterable[Part]) -> Counter[str]:
    """Join the failures of parts in errors.parquet; count them by "stage error"."""
    kinds: Counter[str] = Counter()
    with written_aside(out / "errors.parquet") as aside, pq.ParquetWriter(aside, ERRORS) as writer:
        for part in parts:
            if part.num_failed:
                table = pq.read_table(_errors_path(out, part.part))
                columns = (table[name].to_pylist() for name in ("stage", "error"))
                kinds.update(f"{stage} {error}" for stage, error in zip(*columns))
                writer.write_table(table)
    return kinds


def _errors_path(out: Path, part: int) -> Path:
    return out / "errors" / f"part-{part:06d}.parquet"
