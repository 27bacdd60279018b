"""What of a bulk run is done, so that each sound is embedded once however often the run is killed.

    ledger.jsonl   one line a finished part: its rows, and size and sha256 of its files

A part is its files, each written aside and renamed, and then one line. Parts without a line are done anew, and so are those
whose files are not what the line says.

Source: own.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import FileFormatError
from ..durable import TMP, sha256_of, sync, written_aside

NAME = "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a part: size and hash of what was written."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        return cls(path.stat().st_size, sha256_of(path))

    def fits(self, path: Path, *, verify: bool) -> bool:
        """Whether a file is the one written; without `verify` only its size is looked at."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        return not verify or sha256_of(path) == self.sha256


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part of the run: the rows [start, stop) of the manifest."""

    part: int
    start: int
    stop: int
    num_ok: int
    num_failed: int
    audio_s: float
    # By path below the run's folder.
    files: dict[str, FileRecord]

    def line(self) -> str:
        return json.dumps(asdict(self), sort_keys=True) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Part":
        values = json.loads(line)
        return cls(**{**values, "files": {name: FileRecord(**record) for name, record in values["files"].items()}})


class Ledger:
    """The record of one run's folder. The caller holds the folder's lock.

    Args:
        folder: of the run; what a killed run left half written there is removed.
        verify: compare the hash of every finished file, not only its size.

    Raises:
        FileFormatError: the ledger is damaged.
    """

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        self.path = folder / NAME
        self.done: dict[int, Part] = {}
        remove_leftovers(folder)
        self._read()
        # Parts found damaged, to be done anew.
        self.redone = [
            number
            for number, part in self.done.items()
            if not all(record.fits(folder / name, verify=verify) for name, record in part.files.items())
        ]
        for number in self.redone:
            del self.done[number]

    def commit(self, part: Part) -> None:
        """Record a part whose files are in their places."""
        with self.path.open("a") as file:
            file.write(part.line())
            file.flush()
            os.fsync(file.fileno())
        self.done[part.part] = part

    def forget(self, parts: Iterable[int]) -> None:
        """Have parts done anew."""
        for part in parts:
            del self.done[part]
        self.tidy()

    def tidy(self) -> None:
        """Write the ledger anew: one line a part, in order, none of parts that are no longer so."""
        text = "".join(self.done[part].line() for part in sorted(self.done))
        if not self.path.exists() or self.path.read_text() != text:
            with written_aside(self.path) as aside:
                aside.write_text(text)

    def _read(self) -> None:
        if not self.path.exists():
            self.path.touch()
            sync(self.path.parent)
            return
        lines = self.path.read_text().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                part = Part.from_line(line)
            except (ValueError, TypeError, KeyError, AttributeError):
                if number < len(lines):
                    raise FileFormatError(f"{self.path}: line {number} is damaged: {line[:60]!r}") from None
                line = ""
            if not line.endswith("\n"):
                # The process was killed while it wrote this line.
                self.tidy()
                return
            self.done[part.part] = part


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left half written."""
    for leftover in list(folder.rglob("*" + TMP)):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def finished_parts(folder: Path) -> list[Part]:
    """The parts that a run's ledger records, in order; files are not looked at.

    Raises:
        FileFormatError: the ledger cannot be read, or records no part.
    """
    path = folder / NAME
    try:
        parts = {part.part: part for part in map(Part.from_line, path.read_text().splitlines())}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{path}: cannot be read: {error}") from None
    if not parts:
        raise FileFormatError(f"{folder}: no part of it is finished")
    return [parts[number] for number in sorted(parts)]
