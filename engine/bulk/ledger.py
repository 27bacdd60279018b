"""What of a bulk run is done, so that each sound is embedded once however often the run is killed.

    run.json       what the folder is for: manifest, fingerprint, settings; another of any of them is refused
    ledger.jsonl   one line a finished part: its rows, and size and sha256 of its files
    lock           held while a run works here; the operating system lets go of it when the process ends

A part is its files, each written aside and renamed, and then one line. Parts without a line are done anew, and so are those
whose files are not what the line says.

Source: own.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, FingerprintError, InputError
from ..durable import TMP, sha256_of, sync, written_aside

VERSION = 1


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a part: size and hash of what was written."""

    size_bytes: int
    sha256: str


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of a folder.

    Raises:
        InputError: a run is at work there, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
            raise InputError(f"{folder}: another run is at work here (process {holder or 'unknown'})") from None
        except OSError as error:
            raise InputError(f"{folder}: cannot be locked: {error.strerror}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


class Ledger:
    """The record of one run's folder. The caller holds the lock.

    Args:
        folder: of the run.
        fingerprint: of what makes the vectors; its "id" is compared, the rest says what it stands for.
        manifest: hash and label of the manifest, as {"sha256", "label"}.
        made_with: how to load the model again; kept, not compared.
        settings: all else that decides what the files hold.
        verify: compare the hash of every finished file, not only its size.

    Raises:
        FingerprintError: the folder holds vectors of another fingerprint.
        InputError: the folder is for another manifest or other settings.
        FileFormatError: run.json or the ledger is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint: Mapping[str, Any],
        manifest: Mapping[str, str],
        settings: Mapping[str, Any],
        made_with: Mapping[str, Any],
        verify: bool = True,
    ) -> None:
        self.folder, self.path = folder, folder / "ledger.jsonl"
        self.done: dict[int, Part] = {}
        identity = json.loads(
            json.dumps(
                {
                    "version": VERSION,
                    "fingerprint": dict(fingerprint),
                    "manifest": dict(manifest),
                    "settings": dict(settings),
                    "made_with": dict(made_with),
                }
            )
        )
        known = read_identity(folder)
        self.identity = identity if known is None else known
        if known is None:
            with written_aside(folder / "run.json") as aside:
                aside.write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n")
        else:
            _compare(folder, known, identity)
        for leftover in folder.rglob("*" + TMP):
            leftover.unlink()
        self._read()
        self.redone = [part for part, record in self.done.items() if not self._is_whole(record, verify)]
        for part in self.redone:
            del self.done[part]

    def commit(self, part: Part) -> None:
        """Record a part whose files are in their places."""
        with self.path.open("a") as file:
            file.write(part.line())
            file.flush()
            os.fsync(file.fileno())
        self.done[part.part] = part

    def record(self, path: Path) -> tuple[str, FileRecord]:
        """Name and record of a file of the run."""
        name = path.relative_to(self.folder).as_posix()
        return name, FileRecord(path.stat().st_size, sha256_of(path))

    def forget(self, parts: list[int]) -> None:
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
            sync(self.folder)
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

    def _is_whole(self, part: Part, verify: bool) -> bool:
        for name, record in part.files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != record.size_bytes:
                return False
            if verify and sha256_of(path) != record.sha256:
                return False
        return True


def finished_parts(folder: Path) -> list[Part]:
    """The parts that a run's ledger records, in order; files are not looked at.

    Raises:
        FileFormatError: the ledger cannot be read.
    """
    path = folder / "ledger.jsonl"
    try:
        parts = {part.part: part for part in map(Part.from_line, path.read_text().splitlines())}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{path}: cannot be read: {error}") from None
    return [parts[number] for number in sorted(parts)]


def read_identity(folder: Path) -> dict[str, Any] | None:
    """What a folder is for; None where no run has begun.

    Raises:
        FileFormatError: run.json is damaged or of another version.
    """
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        known = json.loads(path.read_text())
        version = known["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path}: is damaged: {error}") from None
    if version != VERSION:
        raise FileFormatError(f"{path}: is of version {version}; wanted {VERSION}")
    return known


def _compare(folder: Path, known: dict[str, Any], asked: dict[str, Any]) -> None:
    if known["manifest"]["sha256"] != asked["manifest"]["sha256"]:
        raise InputError(
            f"{folder}: is for {known['manifest']['label']}, but the input is {asked['manifest']['label']}; "
            "give another folder"
        )
    if known["fingerprint"]["id"] != asked["fingerprint"]["id"]:
        raise FingerprintError(
            f"{folder}: was begun with another model: {_differing(known['fingerprint'], asked['fingerprint'])}; "
            "give another folder"
        )
    if known["settings"] != asked["settings"]:
        raise InputError(
            f"{folder}: was begun with other settings: {_differing(known['settings'], asked['settings'])}; "
            "give another folder"
        )


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)!r} there, {now.get(name)!r} now" for name in names)
