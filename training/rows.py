"""The rows that a run trains and validates on: published datasets, a folder with manifest.jsonl, or shards of one's own.

    webdataset    tars of KEY.wav, KEY.json, KEY.txt          parquet    sounds as structs {bytes, path} beside their texts
    folder        sounds with NAME.json or NAME.txt beside    list       .csv, .jsonl: a column of paths, columns of texts

`path` of these four is a file, a folder or a pattern (shards/{000..150}.tar). They are listed once and stay where they are
(data/index.py).

Source: own.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.bulk.fetch import ParquetSounds
from ..errors import InputError
from . import parallel
from .data import DATASETS, Clip, Row, Rows, load_manifest, read_dataset
from .data.adapter import split_name
from .data.index import Index, IndexedRows, has_index, ids_of, write_index
from .data.shards import FolderShard, ListShard, ParquetShard, RowShard, Shard, TarShard, find_shards

# A folder of this project's own layout, beside the names of `DATASETS`.
MANIFEST = "manifest"
SHARDED: Mapping[str, tuple[type, ...]] = {
    "webdataset": (TarShard,),
    "parquet": (ParquetShard,),
    "folder": (FolderShard, RowShard),
    "list": (ListShard, ParquetShard),
}


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One dataset, or a part of it."""

    # A key of training.data.DATASETS, "manifest", or a key of SHARDED.
    dataset: str
    # The published annotation file; for "manifest" the folder; for shards a file, a folder or a pattern.
    path: str
    audio_dir: str | None = None
    split: str | None = None
    # Of the dataset's adapter.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FoundRows:
    """Rows of some sources, and a line for each entry that gave none."""

    rows: Sequence[Row]
    problems: list[str]


def read_rows(sources: Sequence[SourceSettings]) -> Rows:
    """The rows of sources that are no shards, one after the other, and a line for each entry that gave none.

    Raises:
        InputError: a source cannot be read, or two rows have one id.
    """
    found = Rows([])
    for source in sources:
        if source.dataset in SHARDED:
            raise InputError(f"{source.path}: shards ({source.dataset}) are read by `harken train` alone")
        rows = _manifest(source) if source.dataset == MANIFEST else _published(source)
        found.rows += rows.rows
        found.problems += rows.problems
    _without_repeats([found.rows], np.arange(len(found.rows)), [])
    return found


def open_sources(sources: Sequence[SourceSettings], folder: Path, mix: int) -> FoundRows:
    """The rows of all sources; a list, or rows that are looked up in indexes where a source is of shards.

    To be called by all processes: the first one writes the indexes that are not there.

    Args:
        folder: of the indexes.
        mix: row groups of Parquet files that are mixed and kept in memory.

    Raises:
        InputError: a source cannot be read or gives no row, or two rows of different sources have one id.
        FileFormatError: a shard or an index that is damaged.
    """
    if parallel.is_first():
        for source in sources:
            if source.dataset in SHARDED and not has_index(folder, _name(source)):
                write_index(folder, _name(source), _shards(source))
    parallel.wait_for_all()
    if not any(source.dataset in SHARDED for source in sources):
        found = read_rows(sources)
        return FoundRows(found.rows, found.problems)
    parquets = ParquetSounds()
    parts: list[Sequence[Row]] = []
    kept: list[np.ndarray] = []
    problems: list[str] = []
    for source in sources:
        if source.dataset in SHARDED:
            index = Index(folder, _name(source), _shards(source), parquets)
            parts.append(index)
            problems += index.problems
            wanted = None if source.split is None else ("", split_name(source.split))
            kept.append(np.array([wanted is None or split in wanted for split in index.splits()], bool))
        else:
            rows = read_rows([source])
            parts.append(rows.rows)
            problems += rows.problems
            kept.append(np.ones(len(rows.rows), bool))
    numbers = _without_repeats(parts, np.flatnonzero(np.concatenate(kept)), problems)
    return FoundRows(IndexedRows(parts, parquets, mix, numbers), problems)


def _shards(source: SourceSettings) -> list[Shard]:
    if source.audio_dir is not None or source.options:
        raise InputError(f"{source.path}: {source.dataset} takes neither audio_dir nor options")
    shards = find_shards([_place(source)])
    odd = [shard.name for shard in shards if not isinstance(shard, SHARDED[source.dataset])]
    if odd:
        raise InputError(f"{source.path}: {source.dataset} was wanted, and {odd[0]} is none ({len(odd)} are not)")
    return shards


def _name(source: SourceSettings) -> str:
    """Of a source's index, whatever split of it is wanted."""
    return f"{source.dataset}-{hashlib.sha256(_place(source).encode()).hexdigest()[:12]}"


def _place(source: SourceSettings) -> str:
    """The path, the same from every working folder."""
    return source.path if "://" in source.path else os.path.abspath(source.path)


def _without_repeats(parts: Sequence[Sequence[Row]], numbers: np.ndarray, problems: list[str]) -> np.ndarray:
    """The numbers, counted over all parts, without rows whose id an earlier row of the same index has; each is a problem.

    Raises:
        InputError: rows of two parts have one id, or two rows of a list.
    """
    ends = np.cumsum([len(part) for part in parts])
    hashes = np.fromiter((hash(i) for part in parts for i in ids_of(part)), np.int64, int(ends[-1]))[numbers]
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
    seen: dict[str, int] = {}
    repeats: list[int] = []
    for place in sorted({int(order[i]) for i in (*again, *(again - 1))}):
        number = int(numbers[place])
        part = int(np.searchsorted(ends, number, side="right"))
        row_id = parts[part][number - (int(ends[part - 1]) if part else 0)].id
        if row_id not in seen:
            seen[row_id] = part
        elif seen[row_id] == part and isinstance(parts[part], Index):
            repeats.append(place)
            problems.append(f"{row_id}: the id is there twice; the first row counts")
        else:
            raise InputError(f"the id {row_id!r} is in two sources; wanted ids that differ")
    return np.delete(numbers, repeats)


def _published(source: SourceSettings) -> Rows:
    if source.dataset not in DATASETS:
        known = ", ".join((MANIFEST, *SHARDED, *DATASETS))
        raise InputError(f"dataset is {source.dataset!r}; wanted one of {known}")
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
