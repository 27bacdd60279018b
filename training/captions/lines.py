"""The captions file: JSON lines, one a row and task, written by runs that may be killed and gone on with.

    {"id", "task", "made_with", "model", "reply": {...}}        or        {"id", "task", "made_with", "model", "error": "..."}

A line cut off by a kill is dropped. `made_with` is a hash of all that decides a reply: a file is gone on with by what began
it only. The last line of a row and task counts.

Source: own.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import FileFormatError, InputError
from ..data.row import Row


def done_before(out: Path, made_with: Mapping[str, str], retry_errors: bool) -> set[tuple[str, str]]:
    """Rows and tasks that need not be asked again; cuts off a line without its end."""
    if not out.exists():
        return set()
    drop_cut_line(out)
    done: set[tuple[str, str]] = set()
    for line in read_lines(out):
        key = line["id"], line["task"]
        if line["task"] in made_with and line["made_with"] != made_with[line["task"]]:
            raise InputError(
                f"{out}: {line['task']!r} of {line['id']!r} was made with {line['made_with']} ({line['model']}); "
                f"wanted {made_with[line['task']]}: the same model, task and seed, or another file"
            )
        if "error" in line and retry_errors:
            done.discard(key)
        else:
            done.add(key)
    return done


def drop_cut_line(out: Path) -> None:
    """Cut off what stands behind the last end of a line."""
    with out.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            start = max(0, keep - (1 << 16))
            file.seek(start)
            found = file.read(keep - start).rfind(b"\n")
            if found >= 0:
                keep = start + found + 1
                break
            keep = start
        if keep < end:
            file.truncate(keep)


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a captions file.

    Raises:
        FileFormatError: a line is none of a captions file.
    """
    try:
        with Path(path).open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                    line["id"], line["task"], line["made_with"], line["model"]
                    if not isinstance(line.get("reply", {}), dict) or ("reply" in line) == ("error" in line):
                        raise KeyError("reply")
                except (ValueError, KeyError, TypeError) as error:
                    raise FileFormatError(f"{path}:{number}: is no line of a captions file: {error!r}") from None
                yield line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_captions(path: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Replies by row and task; rows and tasks that failed are not in it.

    Raises:
        FileFormatError, InputError: as `read_lines`.
    """
    replies: dict[str, dict[str, dict[str, Any]]] = {}
    for line in read_lines(path):
        if "reply" in line:
            replies.setdefault(line["id"], {})[line["task"]] = line["reply"]
    return replies


def with_captions(rows: Iterable[Row], path: str | Path) -> Iterator[Row]:
    """Rows with what was written for them: `long`, `short`, `tags` and `captions` of a reply replace the row's captions of
    that kind (`captions` are long ones); a `caption` is added to the long ones."""
    replies = read_captions(path)
    for row in rows:
        for reply in replies.get(row.id, {}).values():
            long = (reply["long"],) if "long" in reply else tuple(reply.get("captions", row.long))
            row = replace(
                row,
                long=long + ((reply["caption"],) if "caption" in reply else ()),
                short=(reply["short"],) if "short" in reply else row.short,
                tags=tuple(reply["tags"]) if "tags" in reply else row.tags,
            )
        yield row


def as_line(values: dict[str, Any]) -> bytes:
    """A line of a captions file."""
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def sync(file: BinaryIO) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())
