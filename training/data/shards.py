"""Data of one's own as shards: one that has been listed gives each of its rows on demand; sounds inside are read later still.

    folder         all its sounds, with NAME.json or NAME.txt (a caption a line) beside each; or what manifest.jsonl says.
                   Tars and Parquet files in it are shards of their own.
    .tar           WebDataset: KEY.wav, KEY.json, KEY.txt
    .parquet       a row group a shard: a column of structs {bytes, path}, or of paths, and columns as in fields.py
    .csv .jsonl    a list: a column of paths, and columns as in fields.py

Source: own; WebDataset's layout; Hugging Face datasets' Audio feature.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ...engine.bulk import files
from ...engine.bulk.entry import Entry
from ...engine.bulk.fetch import ParquetSounds, fetch
from ...engine.bulk.scan import PATH_COLUMNS, audio_column
from ...engine.bulk.tar import files_in_tar
from ...errors import AudioError, FileFormatError, InputError
from .clips import load_manifest
from .fields import row_of
from .record import RecordError
from .row import Row
from .table import Fields, read_records

LISTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
SIDECARS = (".json", ".txt")
# Gives a row, or raises RecordError or AudioError.
Get = Callable[[], Row]


class Shard(Protocol):
    """A piece of the input."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int | None:
        """Bytes, or rows where there are no bytes: what tells that it has changed. None: not known."""
        ...

    def gets(self, parquets: ParquetSounds) -> list[Get]: ...


def find_shards(inputs: Sequence[str | Path]) -> list[Shard]:
    """The shards of all inputs, in a fixed order.

    Raises:
        InputError: an input is not there or of no known kind, or holds nothing.
        FileFormatError: a table that cannot be read.
    """
    shards: list[Shard] = []
    for given in inputs:
        for uri in files.expand(str(given)):
            shards += list(_of_folder(uri) if files.is_folder(uri) else _of_file(uri))
    if not shards:
        raise InputError(f"{', '.join(map(str, inputs)) or 'the input'}: holds no row")
    return shards


def listed(shard: Shard, parquets: ParquetSounds) -> list[Get]:
    """What gives the rows of a shard.

    Raises:
        FileFormatError, InputError: it cannot be read.
    """
    try:
        return shard.gets(parquets)
    except pa.ArrowException as error:
        raise FileFormatError(f"{shard.name}: cannot be read: {error}") from None
    except OSError as error:
        raise InputError(f"{shard.name}: cannot be read: {error.strerror or error}") from None


def every_row(shards: Sequence[Shard]) -> Iterator[Row | str]:
    """All rows, shard after shard; a line instead of each that cannot be read."""
    parquets = ParquetSounds()
    for shard in shards:
        for get in listed(shard, parquets):
            try:
                yield get()
            except (RecordError, AudioError, OSError) as error:
                yield f"{shard.name}: {error}"


def _of_folder(folder: str) -> Iterator[Shard]:
    if os.path.isfile(os.path.join(folder, "manifest.jsonl")):
        clips = load_manifest(folder).clips
        yield RowShard(
            folder,
            tuple(Row(c.id, c.path, long=c.captions, tags=c.tags, source=c.group, split=c.split) for c in clips),
        )
        return
    sounds: list[tuple[str, str]] = []
    for found in files.walk(folder):
        if files.is_sound(found.uri):
            sounds.append((found.relative, found.uri))
        elif files.suffix(found.uri) in (".tar", ".parquet"):
            yield from _of_file(found.uri)
    if sounds:
        yield FolderShard(folder, tuple(sounds))


def _of_file(uri: str) -> Iterator[Shard]:
    ending = files.suffix(uri)
    if not files.is_remote(uri) and not os.path.exists(files.local(uri)):
        raise InputError(f"{uri}: there is no such file or folder")
    try:
        if ending == ".tar":
            yield TarShard(uri)
        elif ending == ".parquet":
            with files.open_file(uri) as file, pq.ParquetFile(file) as parquet:
                first = 0
                for group in range(parquet.num_row_groups):
                    num_rows = parquet.metadata.row_group(group).num_rows
                    yield ParquetShard(f"{uri} row group {group}", num_rows, uri, group, first)
                    first += num_rows
        elif ending in LISTS:
            yield ListShard(uri)
        else:
            raise InputError(
                f"{uri}: is nothing to read rows from; wanted a folder, .tar, .parquet, {', '.join(LISTS)}"
            )
    except pa.ArrowException as error:
        raise FileFormatError(f"{uri}: is no Parquet file that can be read: {error}") from None
    except OSError as error:
        raise InputError(f"{uri}: cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class StoredSound:
    """A sound in a tar or a table."""

    entry: Entry
    parquets: ParquetSounds = field(compare=False, repr=False)

    def read(self) -> Path | bytes:
        got = fetch(self.entry, self.parquets)
        return Path(got) if isinstance(got, str) else got


@dataclass(frozen=True, slots=True)
class RowShard:
    """Rows that are there already."""

    name: str
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        return len(self.rows)

    def gets(self, parquets: ParquetSounds) -> list[Get]:
        return [partial(_same, row) for row in self.rows]


@dataclass(frozen=True, slots=True)
class FolderShard:
    name: str
    # Path below the folder, and path.
    sounds: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        return len(self.sounds)

    def gets(self, parquets: ParquetSounds) -> list[Get]:
        return [partial(self._row, *pair) for pair in self.sounds]

    @staticmethod
    def _row(relative: str, uri: str) -> Row:
        path = Path(files.local(uri))
        beside = [path.with_suffix(ending) for ending in SIDECARS]
        sidecar = next((p for p in beside if p.is_file()), None)
        if sidecar is None:
            raise RecordError("caption", f"{relative} has neither {beside[0].name} nor {beside[1].name} beside it")
        return row_of(_sidecar(sidecar.read_bytes(), sidecar.name), relative, path, path)


@dataclass(frozen=True, slots=True)
class TarShard:
    name: str

    @property
    def size(self) -> int | None:
        return files.size_of(self.name)

    def gets(self, parquets: ParquetSounds) -> list[Get]:
        sounds: list[tuple[str, Entry]] = []
        sidecars: dict[str, Entry] = {}
        with files.open_file(self.name) as file:
            for entry in files_in_tar(file, self.name):
                folder, name = os.path.split(entry.member or "")
                key, _, ending = name.partition(".")
                if files.is_sound(name):
                    sounds.append((os.path.join(folder, key), entry))
                elif f".{ending}" in SIDECARS:
                    sidecars.setdefault(os.path.join(folder, key), entry)
        return [partial(self._row, key, sound, sidecars.get(key), parquets) for key, sound in sounds]

    def _row(self, key: str, sound: Entry, sidecar: Entry | None, parquets: ParquetSounds) -> Row:
        if sidecar is None:
            raise RecordError("caption", f"{sound.id} has neither {key}.json nor {key}.txt beside it")
        told = _sidecar(_bytes(fetch(sidecar, parquets)), sidecar.id)
        return row_of(told, sound.id, StoredSound(sound, parquets), Path(self.name))


@dataclass(frozen=True, slots=True)
class ParquetShard:
    name: str
    num_rows: int
    uri: str
    group: int
    # Row of the file that this group begins with.
    first: int

    @property
    def size(self) -> int | None:
        return files.size_of(self.uri)

    def gets(self, parquets: ParquetSounds) -> list[Get]:
        with files.open_file(self.uri) as file, pq.ParquetFile(file) as parquet:
            audio = audio_column(parquet.schema_arrow)
            columns = [name for name in parquet.schema_arrow.names if name != audio]
            table = parquet.read_row_group(self.group, columns=columns)
            records = table.to_pylist() if columns else [{} for _ in range(self.num_rows)]
        return [partial(self._row, i, fields, audio, parquets) for i, fields in enumerate(records)]

    def _row(self, number: int, fields: Fields, audio: str | None, parquets: ParquetSounds) -> Row:
        row = self.first + number
        row_id = str(fields["id"]) if fields.get("id") is not None else f"{os.path.basename(self.uri)}:{row}"
        path = Path(files.local(self.uri))
        if audio is None:
            return row_of(fields, row_id, _listed(fields, path), path, row + 1)
        return row_of(fields, row_id, StoredSound(Entry(row_id, self.uri, row=row), parquets), path, row + 1)


@dataclass(frozen=True, slots=True)
class ListShard:
    name: str

    @property
    def size(self) -> int | None:
        return files.size_of(self.name)

    def gets(self, parquets: ParquetSounds) -> list[Get]:
        path = Path(self.name)
        return [partial(self._row, path, n, fields) for n, fields in read_records(path)]

    @staticmethod
    def _row(path: Path, number: int, fields: Fields) -> Row:
        audio = _listed(fields, path)
        given = fields.get("id")
        return row_of(fields, str(audio) if given in (None, "") else str(given), audio, path, number)


def _same(row: Row) -> Row:
    return row


def _listed(fields: Fields, path: Path) -> Path:
    column = next((c for c in PATH_COLUMNS if isinstance(fields.get(c), str) and fields[c]), None)
    if column is None:
        raise RecordError(PATH_COLUMNS[0], f"is missing; wanted one of {', '.join(PATH_COLUMNS)}")
    return path.parent / files.local(fields[column])


def _bytes(got: str | bytes) -> bytes:
    return Path(got).read_bytes() if isinstance(got, str) else got


def _sidecar(data: bytes, name: str) -> Fields:
    """Fields of a JSON or a text file that stands beside a sound."""
    try:
        text = data.decode("utf-8-sig")
        fields = (
            json.loads(text) if name.endswith(".json") else {"caption": [t for t in text.splitlines() if t.strip()]}
        )
    except ValueError as error:
        raise RecordError("caption", f"{name} cannot be read: {error}") from None
    if not isinstance(fields, dict):
        raise RecordError("caption", f"{name} holds a {type(fields).__name__}; wanted an object")
    return fields
