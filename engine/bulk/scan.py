"""What a user names as input, as entries: folders, patterns, lists, tars, Parquet files, single sounds.

    folder, pattern       every sound file in it
    .csv .tsv .jsonl      a list: a column with the path, optional id, start_s, end_s
    .parquet              such a list, or sounds themselves as structs {bytes, path}
    .tar                  WebDataset: every sound file in it
    sound file            itself

Source: own; WebDataset's layout; Hugging Face datasets' Audio feature.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FileFormatError, InputError
from . import files
from .entry import Entry
from .tar import sounds_in_tar

PATH_COLUMNS = ("uri", "path", "file", "audio_filepath", "audio")
LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def scan(inputs: Sequence[str]) -> Iterator[Entry]:
    """The sounds of all inputs, in a fixed order.

    Raises:
        InputError: nothing is found, or an input is of no known kind.
        FileFormatError: a list, a tar or a Parquet file that cannot be read.
    """
    for given in inputs:
        if files.is_folder(given):
            yield from _folder(given)
            continue
        for uri in files.expand(given):
            if files.is_folder(uri):
                yield from _folder(uri)
            else:
                yield from _file(uri, alone=uri == given)


def _folder(folder: str) -> Iterator[Entry]:
    for found in files.walk(folder):
        if files.is_sound(found.uri):
            yield Entry(found.relative, found.uri, size_bytes=found.size_bytes)


def _file(uri: str, *, alone: bool) -> Iterator[Entry]:
    ending = files.suffix(uri)
    if not files.is_sound(uri) and ending not in (*LISTS, ".tar"):
        if alone and not files.is_remote(uri) and not os.path.exists(files.local(uri)):
            raise InputError(f"{uri}: there is no such file or folder")
        raise InputError(
            f"{uri}: is no input that is known; wanted a folder, a sound file, .tar, or a list {', '.join(LISTS)}"
        )
    if files.is_sound(uri):
        yield Entry(uri, uri, size_bytes=files.size_of(uri))
        return
    try:
        if ending == ".tar":
            with files.open_file(uri) as file:
                yield from sounds_in_tar(file, uri)
        elif ending == ".parquet":
            yield from _parquet(uri)
        else:
            yield from _list(uri, _text_rows(uri, ending))
    except OSError as error:
        raise InputError(f"{uri}: cannot be read: {error.strerror or error}") from None


def _text_rows(uri: str, ending: str) -> Iterator[Mapping[str, Any]]:
    with files.open_file(uri) as raw:
        text = TextIOWrapper(raw, encoding="utf-8-sig", newline="" if ending in (".csv", ".tsv") else None)
        try:
            if ending in (".csv", ".tsv"):
                yield from csv.DictReader(text, delimiter="\t" if ending == ".tsv" else ",")
                return
            for number, line in enumerate(text, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise FileFormatError(f"{uri}: line {number} is {line[:40]!r}; wanted a JSON object a line")
                    yield row
        except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
            raise FileFormatError(f"{uri}: is no list that can be read: {error}") from None


def _parquet(uri: str) -> Iterator[Entry]:
    with files.open_file(uri) as raw:
        try:
            parquet = pq.ParquetFile(raw)
            schema = parquet.schema_arrow
            column = audio_column(schema)
            if column is None:
                yield from _list(uri, (row for batch in parquet.iter_batches() for row in batch.to_pylist()))
                return
            name, row = os.path.basename(uri), 0
            ids = ["id"] if "id" in schema.names else []
            if not ids:
                for row in range(parquet.metadata.num_rows):
                    yield Entry(f"{name}:{row}", uri, row=row)
                return
            for batch in parquet.iter_batches(columns=ids):
                for given in batch.column(0).to_pylist():
                    yield Entry(f"{name}:{row}" if given is None else str(given), uri, row=row)
                    row += 1
        except pa.ArrowException as error:
            raise FileFormatError(f"{uri}: is no Parquet file that can be read: {error}") from None


def audio_column(schema: pa.Schema) -> str | None:
    """The column that holds sounds as structs with bytes; None where there is none."""
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name
    return None


def _list(uri: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    remote = files.is_remote(uri)
    folder = uri.rsplit("/", 1)[0] if remote else os.path.dirname(files.local(uri))
    column = None
    for number, row in enumerate(rows, 1):
        where = f"{uri}: row {number}"
        if column is None:
            column = next((name for name in PATH_COLUMNS if name in row), None)
            if column is None:
                raise FileFormatError(f"{uri}: columns are {list(row)}; wanted one of {list(PATH_COLUMNS)}")
        path = row.get(column)
        if not isinstance(path, str) or not path:
            raise FileFormatError(f"{where}: {column} is {path!r}; wanted a path or URL")
        start_s, end_s = _seconds(row, "start_s", where), _seconds(row, "end_s", where)
        if (start_s or 0.0) < 0 or (end_s is not None and end_s <= (start_s or 0.0)):
            raise FileFormatError(f"{where}: goes from {start_s} s to {end_s} s; wanted 0 <= start < end")
        target = path
        if not files.is_remote(path) and not os.path.isabs(files.local(path)):
            target = f"{folder}/{path}" if remote else os.path.join(folder, path)
        part = "" if start_s is None and end_s is None else f"#{start_s or 0:g}-{'' if end_s is None else f'{end_s:g}'}"
        given = row.get("id")
        # A URL is not asked for its size: a request a row would take longer than the run.
        size = None if files.is_remote(target) else files.size_of(target)
        name = path + part if given is None or given == "" else str(given)
        yield Entry(name, target, size_bytes=size, start_s=start_s, end_s=end_s)


def _seconds(row: Mapping[str, Any], column: str, where: str) -> float | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if seconds != seconds or seconds in (float("inf"), float("-inf")):
        raise FileFormatError(f"{where}: {column} is {value!r}; wanted seconds")
    return seconds
