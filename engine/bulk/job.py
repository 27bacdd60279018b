"""One bulk run as every engine that works on it sees it; small, and may be sent to other processes.

Source: own.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Protocol

from .encoder import MadeWith, MakeEncoder, ModelInfo
from .ledger import Part
from .manifest import Manifest
from .report import Tally
from .settings import Settings
from .sinks import Sink, make_sink


class Slice(NamedTuple):
    """A part to be done: the rows [start, stop) of the manifest."""

    part: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, and where its results go."""

    manifest: Manifest
    out: Path
    settings: Settings
    model: ModelInfo
    # Kept in the files of every part: what they are and how they were made.
    about: dict[str, Any]

    @property
    def num_parts(self) -> int:
        return -(-self.manifest.num_rows // self.settings.part_rows)

    def missing(self, done: Container[int]) -> list[Slice]:
        """The parts not yet done, in order."""
        size, total = self.settings.part_rows, self.manifest.num_rows
        return [
            Slice(part, part * size, min((part + 1) * size, total))
            for part in range(self.num_parts)
            if part not in done
        ]

    def sink(self) -> Sink:
        return make_sink(self.settings.format, self.settings.dtype, self.about)


class Engine(Protocol):
    """Who does the parts: threads of this process, or a cluster. What comes out is the same to the byte."""

    def open(self, make_encoder: MakeEncoder, made_with: MadeWith | None, instruction: str | None) -> ModelInfo:
        """Load the model, here or wherever the work will be done."""
        ...

    def work(self, job: Job, parts: list[Slice], *, tally: Tally, commit: Callable[[Part], None], stop: Event) -> None:
        """Do parts; `commit` is called for each whose files are in their places, in any order, from any thread.

        Once `stop` is set, parts in hand are finished and no others begun.
        """
        ...
