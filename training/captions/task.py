"""A caption task as data: what is asked, how it is shown, and what a reply has to hold.

    "{caption}"     a caption of the row, "{negative}" a text that must not fit, "{metadata}" what else is known of it,
    "{min_words}"   and "{max_words}" the caption's length in words -/+ max_words_off

Source: own.
"""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..data.row import Row

PLACES = ("caption", "negative", "metadata", "min_words", "max_words")
KINDS = ("text", "list")
# Longer metadata is cut: a forum's page is no description.
MAX_METADATA_CHARACTERS = 1000
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_LABEL = re.compile(r"^[A-Z][A-Za-z ]{0,20}:\s+")


@dataclass(frozen=True, slots=True)
class Example:
    """A shown turn: the values of the places, and the reply."""

    given: Mapping[str, str]
    reply: str


@dataclass(frozen=True, slots=True)
class CaptionTask:
    """One thing that is asked of a model about a row."""

    name: str
    # What the model is told first.
    system: str
    # What it is asked, with places.
    prompt: str
    # What the reply holds, name -> "text" or "list". One text: the reply itself; else a JSON object.
    reply: Mapping[str, str]
    # The row's sound goes with the prompt.
    hears: bool = False
    examples: tuple[Example, ...] = ()
    # How far the reply's words may be from the caption's in number; None: as far as they like.
    max_words_off: int | None = None
    max_tokens: int = 256
    temperature: float = 0.35
    top_p: float = 0.9

    def __post_init__(self) -> None:
        try:
            unknown = sorted(self.places() - set(PLACES))
        except ValueError as error:
            raise InputError(f"task {self.name!r}: prompt has a brace without its fellow: {error}") from None
        if unknown:
            raise InputError(
                f"task {self.name!r}: prompt has a place {{{unknown[0]}}}; wanted some of {', '.join(PLACES)}"
            )
        if not self.reply or any(kind not in KINDS for kind in self.reply.values()):
            raise InputError(
                f"task {self.name!r}: reply is {dict(self.reply)}; wanted names with one of {', '.join(KINDS)}"
            )

    def places(self) -> set[str]:
        """What the prompt wants to know."""
        return {place for _, place, _, _ in string.Formatter().parse(self.prompt) if place is not None}

    def fill(self, values: Mapping[str, str]) -> str:
        """The prompt with its places filled."""
        return self.prompt.format(**{place: values.get(place, "") for place in PLACES})

    def values_of(self, row: Row) -> dict[str, str]:
        """What fills the places for a row.

        Raises:
            InputError: the row lacks what the prompt wants.
        """
        wanted, values = self.places(), {"metadata": describe(row)}
        if wanted & {"caption", "min_words", "max_words"}:
            if not row.captions:
                raise InputError(f"{row.id}: has no caption; task {self.name!r} wants one")
            values["caption"] = row.captions[0]
            words, off = len(row.captions[0].split()), self.max_words_off or 0
            values |= {"min_words": str(max(1, words - off)), "max_words": str(words + off)}
        if "negative" in wanted:
            if not row.negatives:
                raise InputError(f"{row.id}: has no negative; task {self.name!r} wants one")
            values["negative"] = row.negatives[0]
        return values

    def parse(self, text: str, values: Mapping[str, str]) -> dict[str, Any]:
        """What a reply holds.

        Raises:
            InputError: it is not of the form that was asked for, or too short or too long.
        """
        text = _FENCE.sub("", text.strip()).strip()
        if list(self.reply.values()) == ["text"]:
            name = next(iter(self.reply))
            got: dict[str, Any] = {name: _LABEL.sub("", text).strip().strip('"').strip()}
        else:
            got = _object(text)
        for name, kind in self.reply.items():
            got[name] = _checked(got.get(name), kind, name)
        if self.max_words_off is not None:
            for name in (name for name, kind in self.reply.items() if kind == "text"):
                num, low, high = len(got[name].split()), int(values["min_words"]), int(values["max_words"])
                if not low <= num <= high:
                    raise InputError(f"{name} has {num} words; wanted {low} to {high}")
        return {name: got[name] for name in self.reply}


def _object(text: str) -> dict[str, Any]:
    start, end = text.find("{"), text.rfind("}")
    try:
        got = json.loads(text[start : end + 1]) if start >= 0 else None
    except ValueError:
        got = None
    if not isinstance(got, dict):
        raise InputError(f"reply is {text[:80]!r}; wanted a JSON object")
    return got


def _checked(value: Any, kind: str, name: str) -> Any:
    if kind == "list" and isinstance(value, str):
        value = value.split(",")
    if kind == "list":
        items = [str(item).strip() for item in value] if isinstance(value, list) else []
        if not (items := list(dict.fromkeys(item for item in items if item))):
            raise InputError(f"{name} is {value!r}; wanted a list of texts")
        return items
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {value!r}; wanted a text")
    return " ".join(value.split())


def describe(row: Row) -> str:
    """What is known of a row besides its captions, for the prompt."""
    known = {"labels": ", ".join(row.labels), "tags": ", ".join(row.tags)}
    for name in ("title", "description", "tags", "category"):
        if value := row.metadata.get(name):
            known[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    lines = [f"{name}: {' '.join(value.split())}" for name, value in known.items() if value]
    lines += [f"caption: {caption}" for caption in row.captions]
    return "\n".join(lines)[:MAX_METADATA_CHARACTERS] or "nothing"


def load_tasks(path: str | Path) -> tuple[CaptionTask, ...]:
    """Tasks from a JSON file: a list of objects with the fields of CaptionTask.

    Raises:
        InputError: the file cannot be read, or a task has an unknown or a missing field.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as tasks: {error}") from None
    known = {field.name for field in fields(CaptionTask)}
    tasks = []
    for i, values in enumerate(content if isinstance(content, list) else [content]):
        if not isinstance(values, dict) or (unknown := sorted(set(values) - known)):
            raise InputError(
                f"{path}: task {i} has {unknown if isinstance(values, dict) else values!r}; known: {sorted(known)}"
            )
        try:
            examples = tuple(Example(**example) for example in values.pop("examples", ()))
            tasks.append(CaptionTask(**values, examples=examples))
        except TypeError as error:
            raise InputError(f"{path}: task {i}: {error}") from None
    return tuple(tasks)


def to_json(tasks: tuple[CaptionTask, ...]) -> str:
    """What `load_tasks` reads."""
    return json.dumps([asdict(task) for task in tasks], indent=1, ensure_ascii=False)
