"""What an adapter is, and how one turns an annotation file into rows.

Source: own.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from .record import Record, RecordError, Sounds
from .row import Row, Rows
from .table import Fields, read_records

# How the published files call their splits.
SPLITS = {
    "train": "train", "training": "train", "development": "train", "dev": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "eval": "test", "evaluation": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """What an adapter knows besides the record."""

    path: Path
    sounds: Sounds
    # Of the whole file, by its name or by the caller's word; "": not known.
    split: str
    options: Mapping[str, Any]


# A record to its row; None: the record is good, but the options leave it out.
ReadRecord = Callable[[Record, Context], Row | None]
ReadRecords = Callable[[Path], Iterable[tuple[int, Fields]]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """How the files of one dataset are read."""

    name: str
    # One sentence: which published files, for `harken data datasets`.
    about: str
    read: ReadRecord
    licence: str = ""
    # Several records may speak of one clip; gives what two of them may not have in common. None: a clip has one record.
    part: Callable[[Record], object] | None = None
    # Records of other kinds of files than `read_records` knows.
    records: ReadRecords = read_records
    # Names and defaults of what `read_dataset` takes besides.
    options: Mapping[str, Any] = field(default_factory=dict)


def read_rows(
    adapter: Adapter,
    annotation: str | Path,
    audio_dir: str | Path | None,
    split: str | None,
    strict: bool,
    options: Mapping[str, Any],
) -> Rows:
    """Read one annotation file; arguments and errors as `read_dataset`."""
    unknown = sorted(set(options) - set(adapter.options))
    if unknown:
        known = ", ".join(adapter.options) or "none"
        raise InputError(f"{adapter.name}: takes no option {unknown[0]!r}; known: {known}")
    path = Path(annotation)
    wanted = None if split is None else split_name(split)
    context = Context(path, Sounds(audio_dir), wanted or split_of_file(path), {**adapter.options, **options})
    rows: dict[str, Row] = {}
    parts: dict[str, set[object]] = {}
    result = Rows([])
    number = 0
    for number, fields in adapter.records(path):
        record = Record(fields, path, number)
        try:
            row = adapter.read(record, context)
            if row is None or (wanted is not None and row.split != wanted):
                result.num_left_out += 1
                continue
            _add(row, record, adapter, rows, parts)
        except RecordError as error:
            problem = f"{path.name}:{number}: {error}"
            if strict:
                raise InputError(f"{adapter.name}: {problem}") from None
            result.problems.append(problem)
    result.rows = list(rows.values())
    if not result.rows and not result.num_left_out:
        told = f"; the first: {result.problems[0]}" if result.problems else ""
        raise InputError(f"{adapter.name}: {path}: no record gives a row{told}")
    if not result.rows and wanted is not None:
        raise InputError(f"{adapter.name}: {path}: no row is of split {split!r}; {result.num_left_out} are of others")
    return result


def _add(row: Row, record: Record, adapter: Adapter, rows: dict[str, Row], parts: dict[str, set[object]]) -> None:
    """Put a row to the others, joined to the one of the same clip where the dataset has several records a clip."""
    if not row.licence and adapter.licence:
        row = replace(row, licence=adapter.licence)
    part = None if adapter.part is None else adapter.part(record)
    if row.id not in rows:
        rows[row.id], parts[row.id] = row, {part}
        return
    if part is None or part in parts[row.id]:
        what = f"the id {row.id!r}" if part is None else f"{part!r} of {row.id!r}"
        raise RecordError("id", f"{what} is there twice")
    parts[row.id].add(part)
    first = rows[row.id]
    joined = {name: getattr(first, name) + getattr(row, name) for name in ("long", "short", "tags", "labels")}
    rows[row.id] = replace(first, **joined)


def split_name(name: str) -> str:
    """ "train", "val" or "test" for any of the names published files use.

    Raises:
        InputError: no split is called so.
    """
    try:
        return SPLITS[name.lower()]
    except KeyError:
        raise InputError(f"split is {name!r}; wanted one of {', '.join(SPLITS)}") from None


def split_of_file(path: Path) -> str:
    """The split that a file's name speaks of, the last word counting; "" where it speaks of none."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")
