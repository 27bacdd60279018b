"""The rows that a run trains and validates on: published datasets, or a folder with manifest.jsonl.

Source: own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .data import Clip, Row, Rows, load_manifest, read_dataset

# A folder of this project's own layout, beside the names of `DATASETS`.
MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One dataset, or a part of it."""

    # A key of training.data.DATASETS, or "manifest".
    dataset: str
    # The published annotation file; for "manifest" the folder.
    path: str
    audio_dir: str | None = None
    split: str | None = None
    # Of the dataset's adapter.
    options: Mapping[str, Any] = field(default_factory=dict)


def read_rows(sources: Sequence[SourceSettings]) -> Rows:
    """The rows of all sources, one after the other, and a line for each entry that gave none.

    Raises:
        InputError: a source cannot be read, or two rows have one id.
    """
    found = Rows([])
    for source in sources:
        rows = _manifest(source) if source.dataset == MANIFEST else _published(source)
        found.rows += rows.rows
        found.problems += rows.problems
    ids: set[str] = set()
    for row in found.rows:
        if row.id in ids:
            raise InputError(f"the id {row.id!r} is in two sources; wanted ids that differ")
        ids.add(row.id)
    return found


def _published(source: SourceSettings) -> Rows:
    return read_dataset(
        source.dataset, source.path, source.audio_dir, source.split, strict=False, **dict(source.options)
    )


def _manifest(source: SourceSettings) -> Rows:
    dataset = load_manifest(source.path)
    clips = dataset.clips if source.split is None else dataset.split(source.split)
    return Rows([row_of(clip) for clip in clips], dataset.problems)


def row_of(clip: Clip) -> Row:
    """A manifest's clip; its group is its label."""
    labels = (clip.group,) if clip.group else ()
    return Row(clip.id, clip.path, long=clip.captions, tags=clip.tags, labels=labels, split=clip.split)
