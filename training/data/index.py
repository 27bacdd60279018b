"""The rows of shards by number, without unpacking: what is said of each in a memory-mapped file, its sound read on demand.

    NAME.arrow    one row each: id, split, the row's fields as JSON, and where its sound is (path; tar member and its bytes;
                  row of a Parquet file)
    NAME.json     the shards and their sizes, and a line for each row that cannot be used; written last

Why an index and no shuffle buffer: any row can be asked for, so a batch follows from seed and step alone (training/draw.py).
It goes on exactly, with any number of threads or processes, at no cost, and no row comes twice; texts never need their shard
again. What it costs is one pass over the shards' headers and texts, once. Memory holds a few numbers a row.

One thing is bound to its place: a row of a Parquet file is read with its whole row group. So row groups are mixed `mix` at a
time, and that many stay in memory; rows of tars, folders and lists go anywhere:

    key of a free row        uniform in [0, 1)
    key of a Parquet row     (place + uniform) / number of them;  place: groups permuted, `mix` of them permuted together
    order of an epoch        argsort of the keys

Source: own.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from ...engine.bulk.entry import Entry
from ...engine.bulk.fetch import ParquetSounds
from ...engine.cli.output import progress_bar
from ...errors import AudioError, FileFormatError, InputError
from .record import RecordError
from .row import Row
from .shards import ParquetShard, Shard, StoredSound, listed

_BLOCK = 4096
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("fields", pa.string()),
        ("uri", pa.string()),
        ("member", pa.string()),
        ("offset_bytes", pa.int64()),
        ("size_bytes", pa.int64()),
        ("row", pa.int64()),
        # Number of the row group; -1: the row may be read from anywhere.
        ("group", pa.int32()),
    ]
)
_KEPT = [f for f in fields(Row) if f.name not in ("id", "audio")]
_DEFAULTS = {f.name: f.default if f.default is not MISSING else {} for f in _KEPT}


def write_index(folder: Path, name: str, shards: Sequence[Shard]) -> None:
    """Read the texts of all shards, once; what an interrupted call left is overwritten.

    Raises:
        FileFormatError, InputError: a shard that cannot be read at all, or not one row in all of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parquets, num_rows = ParquetSounds(), 0
    problems: list[str] = []
    temporary = folder / f"{name}.tmp"
    with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        with progress_bar("reading texts", len(shards)) as advance:
            block: list[dict[str, Any]] = []
            for number, shard in enumerate(shards):
                for get in listed(shard, parquets):
                    try:
                        block.append(_packed(get(), number if isinstance(shard, ParquetShard) else -1))
                    except (RecordError, AudioError, OSError) as error:
                        problems.append(f"{shard.name}: {error}")
                    if len(block) == _BLOCK:
                        writer.write_batch(pa.RecordBatch.from_pylist(block, _SCHEMA))
                        num_rows, block = num_rows + len(block), []
                advance(1)
            writer.write_batch(pa.RecordBatch.from_pylist(block, _SCHEMA))
            num_rows += len(block)
    if not num_rows:
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise InputError(f"{shards[0].name}: not one row in {len(shards)} shards{first}")
    os.replace(temporary, folder / f"{name}.arrow")
    told = {"shards": _sizes(shards), "problems": problems}
    temporary.write_text(json.dumps(told, ensure_ascii=False) + "\n")
    os.replace(temporary, folder / f"{name}.json")


def has_index(folder: Path, name: str) -> bool:
    return (folder / f"{name}.json").is_file()


def _sizes(shards: Sequence[Shard]) -> list[list[Any]]:
    return [[shard.name, shard.size] for shard in shards]


def _packed(row: Row, group: int) -> dict[str, Any]:
    values = {f.name: getattr(row, f.name) for f in _KEPT if getattr(row, f.name) != _DEFAULTS[f.name]}
    packed = {"id": row.id, "split": row.split, "fields": json.dumps(values, ensure_ascii=False), "group": group}
    if isinstance(row.audio, StoredSound):
        entry = row.audio.entry
        place = dict(uri=entry.uri, member=entry.member, offset_bytes=entry.offset_bytes, row=entry.row)
        return {**packed, **place, "size_bytes": entry.size_bytes}
    return {**packed, "uri": None if row.audio is None else str(row.audio)}


class Index(Sequence[Row]):
    """One index that `write_index` wrote.

    Args:
        folder, name: where it is.
        shards: what it must have been made of.
        parquets: reads the sounds of Parquet files.

    Raises:
        FileFormatError: it cannot be read.
        InputError: the shards are others now.
    """

    def __init__(self, folder: Path, name: str, shards: Sequence[Shard], parquets: ParquetSounds) -> None:
        path = folder / f"{name}.arrow"
        try:
            told = json.loads((folder / f"{name}.json").read_text())
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self.problems: list[str] = told["problems"]
            before = dict(map(tuple, told["shards"]))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise FileFormatError(f"{path}: cannot be read as an index of rows: {error!r}") from None
        now = dict(map(tuple, _sizes(shards)))
        changed = sorted(shard for shard in before.keys() | now.keys() if before.get(shard) != now.get(shard))
        if changed:
            raise InputError(
                f"{changed[0]}: its size is {now.get(changed[0])} now and was {before.get(changed[0])} when {path} was "
                f"written ({len(changed)} shards differ); if the data was meant to change, delete {path.name} and "
                f"{name}.json"
            )
        self._columns = [self._table[name] for name in _SCHEMA.names if name not in ("split", "group")]
        self._parquets = parquets

    @property
    def groups(self) -> np.ndarray:
        """[N] number of each row's row group, -1 for rows that may be read from anywhere."""
        return self._table["group"].to_numpy()

    def ids(self) -> Iterator[str]:
        for chunk in self._table["id"].chunks:
            yield from chunk.to_pylist()

    def splits(self) -> Iterator[str]:
        for chunk in self._table["split"].chunks:
            yield from chunk.to_pylist()

    def __len__(self) -> int:
        return self._table.num_rows

    @overload
    def __getitem__(self, number: int) -> Row: ...
    @overload
    def __getitem__(self, number: slice) -> list[Row]: ...
    def __getitem__(self, number: int | slice) -> Row | list[Row]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        row_id, told, uri, member, offset, size, row = (column[number].as_py() for column in self._columns)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(told).items()}
        if offset is None and row is None:
            return Row(row_id, None if uri is None else Path(uri), **values)
        entry = Entry(row_id, uri, member=member, offset_bytes=offset, row=row, size_bytes=size)
        return Row(row_id, StoredSound(entry, self._parquets), **values)


class IndexedRows(Sequence[Row]):
    """Rows of several parts by number, as a list has them; `row.audio` of what lies in a shard is read when it is asked for.

    Args:
        parts: indexes, and lists of rows that are there already.
        parquets: those of the indexes; keeps mix + 1 row groups.
        mix: row groups of Parquet files whose rows are mixed.
        numbers: which rows, counted over all parts; None: all.
    """

    def __init__(
        self, parts: Sequence[Sequence[Row]], parquets: ParquetSounds, mix: int, numbers: np.ndarray | None = None
    ) -> None:
        if mix < 1:
            raise InputError(f"data.mix is {mix}; wanted 1 row group or more")
        self._parts, self._parquets, self._mix = parts, parquets, mix
        parquets.NUM_KEPT = mix + 1
        self._ends = np.cumsum([len(part) for part in parts])
        self.numbers = np.arange(self._ends[-1]) if numbers is None else numbers
        self._order: tuple[tuple[int, ...], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> "IndexedRows": ...
    def __getitem__(self, place: int | slice) -> "Row | IndexedRows":
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        number = int(self.numbers[place])
        part = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[part][number - (int(self._ends[part - 1]) if part else 0)]

    def take(self, places: np.ndarray) -> "IndexedRows":
        """Those of the rows, in this order."""
        return IndexedRows(self._parts, self._parquets, self._mix, self.numbers[places])

    def ids(self) -> Iterator[str]:
        """The ids, without reading the rows."""
        found = np.concatenate([np.array(list(ids_of(part)), dtype=object) for part in self._parts])
        return iter(found[self.numbers])

    def order(self, place: tuple[int, ...]) -> np.ndarray:
        """[N] a permutation that `place` decides: seed, purpose and epoch."""
        if self._order is None or self._order[0] != place:
            self._order = place, self._permuted(np.random.default_rng(place))
        return self._order[1]

    def _permuted(self, rng: np.random.Generator) -> np.ndarray:
        keys = rng.random(len(self))
        groups, first = [], 0
        for part in self._parts:
            own = part.groups if isinstance(part, Index) else np.full(len(part), -1)
            groups.append(np.where(own < 0, -1, own + first))
            first += int(own.max(initial=-1)) + 1
        groups_N = np.concatenate(groups)[self.numbers]
        bound = np.flatnonzero(groups_N >= 0)
        there, group_of_bound = np.unique(groups_N[bound], return_inverse=True)
        turn = rng.permutation(len(there))[group_of_bound] // self._mix
        sorted_bound = bound[np.lexsort((rng.random(len(bound)), turn))]
        keys[sorted_bound] = (np.arange(len(bound)) + rng.random(len(bound))) / max(1, len(bound))
        return np.argsort(keys, kind="stable")


def ids_of(rows: Sequence[Row]) -> Iterator[str]:
    """The ids of rows, of indexed ones without reading them."""
    return rows.ids() if isinstance(rows, Index | IndexedRows) else (row.id for row in rows)


def at(rows: Sequence[Row], places: Iterable[int]) -> Sequence[Row]:
    """The rows at some places; indexed ones stay in their index."""
    if isinstance(rows, IndexedRows):
        return rows.take(np.fromiter(places, np.int64))
    return [rows[i] for i in places]


def chosen(rows: Sequence[Row], keep: Callable[[Row], Any]) -> Sequence[Row]:
    """The rows that `keep` says yes to."""
    return at(rows, (i for i, row in enumerate(rows) if keep(row)))
