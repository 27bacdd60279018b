"""One record of an annotation file: fields asked for by name, sounds looked up by id; what is wrong names its column.

Source: own.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from .table import Fields

# In the order in which they are looked for.
SOUND_ENDINGS = (".wav", ".flac", ".mp3", ".mkv", ".ogg", ".opus", ".m4a", ".mp4", ".webm")
_YOUTUBE = re.compile(r"([A-Za-z0-9_-]{11})((?:_\d+(?:\.\d+)?){0,2})")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


class RecordError(ValueError):
    """A record that gives no row."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(f"{column}: {message}")


class Sounds:
    """The files of a folder by the ids that annotations have for them. None: ids are not looked up."""

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and not self.folder.is_dir():
            raise InputError(f"{self.folder}: there is no such folder of sounds")
        self._listings: dict[str, frozenset[str]] = {}

    def find(self, names: Sequence[str], column: str) -> Path | None:
        """The file that the first fitting of `names` means.

        A name may be a path, of which a beginning may be missing in the folder, and may lack its ending or have another.

        Raises:
            RecordError: there is no such file.
        """
        if self.folder is None:
            return None
        for name in names:
            parts = name.replace("\\", "/").removeprefix("./").split("/")
            for i in range(len(parts)):
                relative = "/".join(parts[i:])
                stem, ending = os.path.splitext(relative)
                known = ending.lower() in SOUND_ENDINGS
                for candidate in [relative] * known + [(stem if known else relative) + e for e in SOUND_ENDINGS]:
                    if self._is_there(candidate):
                        return self.folder / candidate
        raise RecordError(column, f"there is no sound {names[0]!r} in {self.folder}")

    def _is_there(self, relative: str) -> bool:
        folder, name = os.path.split(relative)
        if folder not in self._listings:
            try:
                with os.scandir(os.path.join(str(self.folder), folder)) as entries:
                    self._listings[folder] = frozenset(e.name for e in entries if e.is_file())
            except OSError:
                self._listings[folder] = frozenset()
        return name in self._listings[folder]


class Record:
    """The fields of one record."""

    def __init__(self, fields: Fields, path: Path, number: int) -> None:
        self.fields, self.path, self.number = fields, path, number

    def first_of(self, *columns: str) -> str:
        """The first of some column names that is there.

        Raises:
            RecordError: none is.
        """
        found = next((column for column in columns if self.fields.get(column) is not None), None)
        if found is None:
            wanted = columns[0] if len(columns) == 1 else f"one of {', '.join(columns)}"
            raise RecordError(columns[0], f"is missing; wanted {wanted}, got columns {list(self.fields)[:12]}")
        return found

    def text(self, *columns: str) -> str:
        """A text that is not empty, from the first of some columns that is there; a number counts as its digits."""
        column = self.first_of(*columns)
        value = self.fields[column]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise RecordError(column, f"is a {type(value).__name__}; wanted text")
        if not (text := str(value).strip()):
            raise RecordError(column, "is empty; wanted text")
        return text

    def optional(self, *columns: str) -> str | None:
        """The text of the first of some columns that holds one; None where none does."""
        for column in columns:
            if self.fields.get(column) is not None and str(self.fields[column]).strip():
                return self.text(column)
        return None

    def texts(self, *columns: str, allow_none: bool = False) -> tuple[str, ...]:
        """A text or a list of texts, none of them empty.

        Args:
            columns: the first that is there counts.
            allow_none: the list may be empty, and a missing column is an empty list.
        """
        if allow_none and all(self.fields.get(column) is None for column in columns):
            return ()
        column = self.first_of(*columns)
        value = self.fields[column]
        values = list(value) if isinstance(value, list | tuple) else [value]
        if not values and not allow_none:
            raise RecordError(column, "is an empty list; wanted at least one text")
        for i, item in enumerate(values):
            if not isinstance(item, str):
                raise RecordError(column, f"item {i} is a {type(item).__name__}; wanted text")
            if not item.strip() and not allow_none:
                raise RecordError(
                    column, f"item {i} is empty; wanted text" if len(values) > 1 else "is empty; wanted text"
                )
        return tuple(item.strip() for item in values if item.strip())

    def number_of(self, *columns: str) -> float:
        """A finite number."""
        column = self.first_of(*columns)
        try:
            value = float(self.fields[column])
        except (TypeError, ValueError):
            value = float("nan")
        if value != value or value in (float("inf"), float("-inf")):
            raise RecordError(column, f"is {self.fields[column]!r}; wanted a number")
        return value

    def optional_number(self, *columns: str) -> float | None:
        found = next((c for c in columns if self.fields.get(c) not in (None, "")), None)
        return None if found is None else self.number_of(found)

    def seconds(self, column: str) -> float:
        """Seconds, from "HH:MM:SS.mmm" or a number."""
        value = self.text(column)
        if match := _CLOCK.fullmatch(value):
            hours, minutes, seconds = match.groups()
            return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
        return self.number_of(column)

    def span(self, start: str, end: str) -> tuple[float, float]:
        """A part of a sound, in seconds."""
        start_s, end_s = self.seconds(start), self.seconds(end)
        if start_s < 0 or end_s <= start_s:
            raise RecordError(end, f"goes from {start_s:g} s to {end_s:g} s; wanted 0 <= start < end")
        return start_s, end_s

    def rest(self, *columns: str) -> dict[str, Any]:
        """Those of some columns that hold something, for a row's metadata."""
        return {c: self.fields[c] for c in columns if self.fields.get(c) not in (None, "", [])}


def youtube_id(name: str) -> str | None:
    """The id of a YouTube video in the names datasets give its clips; None where the name is of no such form.

    Known forms: ID, ID_30, ID_000030, ID_30.000_40.000, each perhaps after a Y or with folders and an ending.
    """
    stem = name.replace("\\", "/").rsplit("/", 1)[-1]
    ending = os.path.splitext(stem)[1].lower()
    stem = stem[: -len(ending)] if ending in SOUND_ENDINGS else stem
    for candidate in (stem, stem[1:] if stem.startswith("Y") else ""):
        if match := _YOUTUBE.fullmatch(candidate):
            return match[1]
    return None


def youtube_origin(name: str, column: str) -> tuple[str, ...]:
    """The origin of a clip that must come from YouTube.

    Raises:
        RecordError: its name holds no YouTube id.
    """
    found = youtube_id(name)
    if found is None:
        raise RecordError(column, f"is {name!r}; wanted a YouTube id of 11 characters, perhaps with seconds behind it")
    return (f"youtube:{found}",)


def file_origin(name: str) -> str:
    """The origin by file name: without folders and ending, in lower case, with one kind of space."""
    stem = os.path.splitext(name.replace("\\", "/").rsplit("/", 1)[-1])
    base = stem[0] if stem[1].lower() in SOUND_ENDINGS else "".join(stem)
    return "file:" + " ".join(base.replace("_", " ").lower().split())


def spoken(label: str) -> str:
    """A class label as it is said: underscores become spaces."""
    return " ".join(label.replace("_", " ").split())
