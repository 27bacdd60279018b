"""The one row that every dataset is read into, and what reading one gives.

Source: own; the fields are those of the published datasets together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Stored(Protocol):
    """A sound that lies in another file."""

    def read(self) -> Path | bytes:
        """Raises AudioError."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One sound, or one part of a sound, and what is said of it."""

    # Unique within its dataset.
    id: str
    # A file, the bytes of one, or where they lie; None for rows of text alone (NLI), or where no folder of sounds was named.
    audio: Path | bytes | Stored | None
    # Every caption, by its kind; a dataset with one kind gives `long`.
    long: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    question: str | None = None
    answer: str | None = None
    # Choices of a multiple-choice question.
    choices: tuple[str, ...] = ()
    # The part of the file that is meant, in seconds; None: from its beginning, to its end.
    start_s: float | None = None
    end_s: float | None = None
    # Class labels as they are spoken (ESC-50, FSD50K, VGGSounder, EPIC-Sounds).
    labels: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    # "train", "val", "test", or "" where the file does not say.
    split: str = ""
    # Texts that do not fit, though they come near (NLI's contradictions).
    negatives: tuple[str, ...] = ()
    # The recording under the names its sites have for it: "youtube:ID", "freesound:ID", "file:name without ending".
    origins: tuple[str, ...] = ()
    # Of the whole file, as the annotation tells it.
    duration_s: float | None = None
    # What else the annotation says, by its own names.
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def read_audio(self) -> Path | bytes | None:
        """The file, or its bytes, read from where they lie.

        Raises:
            AudioError: they cannot be read.
        """
        return self.audio if self.audio is None or isinstance(self.audio, Path | bytes) else self.audio.read()

    @property
    def captions(self) -> tuple[str, ...]:
        """Long and short captions, the long ones first."""
        return self.long + self.short


@dataclass(slots=True)
class Rows:
    """The rows of a dataset, and a line for each entry that gave none: "file:row: column: what is wrong"."""

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
    # Good entries that were not asked for: of another split, or outside the adapter's options.
    num_left_out: int = 0
