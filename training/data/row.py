"""The one row that every dataset is read into, and what reading one gives.

Source: own; the fields are those of spec/recipes.md F.2 together.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One sound, or one part of a sound, and what is said of it."""

    # Unique within its dataset.
    id: str
    # A file, or the bytes of one; None for rows of text alone (NLI).
    audio: Path | bytes | None
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
    # Class labels (ESC-50, FSD50K, VGGSounder, EPIC-Sounds).
    labels: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    split: str = ""

    @property
    def captions(self) -> tuple[str, ...]:
        """Long and short captions, the long ones first."""
        return self.long + self.short


@dataclass(slots=True)
class Rows:
    """The rows of a dataset, and a line for each entry that gave none: "file:row: what is wrong"."""

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
