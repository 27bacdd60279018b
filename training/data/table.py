"""Annotation files as records: CSV, TSV, JSON, JSON lines, Parquet.

A JSON file is a list of objects, an object that wraps one under "data" or "annotations", or an object of objects by id.
Records are numbered as a person would count them: lines of a text file, items of a JSON or Parquet file, from 1.

Source: own.
"""

import csv
import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...engine.bulk.scan import audio_column
from ...errors import FileFormatError, InputError

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
WRAPPERS = ("data", "annotations")
# Some captions are longer than the csv module's 128 KiB a field.
csv.field_size_limit(1 << 24)

Fields = dict[str, Any]


def read_records(path: Path) -> Iterator[tuple[int, Fields]]:
    """Number and fields of every record of an annotation file, in its order.

    Raises:
        InputError: there is no such file, or its ending is none of ENDINGS.
        FileFormatError: it is not what its ending says, or a record is no object.
    """
    ending = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; wanted an annotation file")
    try:
        if ending in (".csv", ".tsv"):
            yield from _csv(path, "\t" if ending == ".tsv" else ",")
        elif ending == ".json":
            yield from _json(path)
        elif ending in (".jsonl", ".ndjson"):
            yield from _json_lines(path)
        elif ending == ".parquet":
            yield from _parquet(path)
        else:
            raise InputError(f"{path}: ending is {ending!r}; wanted one of {', '.join(ENDINGS)}")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: is not UTF-8: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, Fields]]:
    with path.open("rb") as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, delimiter=delimiter, restkey=None, strict=False)
        try:
            for fields in reader:
                extra = fields.pop(None, None)  # type: ignore[call-overload]
                if extra:
                    raise FileFormatError(
                        f"{path}:{reader.line_num}: has {len(extra)} fields more than the header; is a comma not quoted?"
                    )
                yield reader.line_num, fields
        except csv.Error as error:
            raise FileFormatError(f"{path}:{reader.line_num}: is no CSV that can be read: {error}") from None


def _json(path: Path) -> Iterator[tuple[int, Fields]]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}:{error.lineno}: is no JSON: {error.msg}") from None
    if isinstance(content, dict):
        wrapper = next((w for w in WRAPPERS if isinstance(content.get(w), list)), None)
        if wrapper is not None:
            content = content[wrapper]
        elif content and all(isinstance(value, dict) for value in content.values()):
            content = [{"id": key, **value} for key, value in content.items()]
        else:
            raise FileFormatError(f"{path}: is an object with keys {list(content)[:5]}; wanted a list of records")
    if not isinstance(content, list):
        raise FileFormatError(f"{path}: holds a {type(content).__name__}; wanted a list of records")
    for number, fields in enumerate(content, 1):
        yield number, _checked(fields, path, number)


def _json_lines(path: Path) -> Iterator[tuple[int, Fields]]:
    with path.open("rb") as raw, TextIOWrapper(raw, encoding="utf-8-sig") as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                yield number, _checked(json.loads(line), path, number)
            except json.JSONDecodeError as error:
                raise FileFormatError(f"{path}:{number}: is no JSON: {error.msg}") from None


def _parquet(path: Path) -> Iterator[tuple[int, Fields]]:
    try:
        with pq.ParquetFile(path) as parquet:
            number = 0
            # Sounds in a table are a stream's to read.
            audio = audio_column(parquet.schema_arrow)
            columns = [name for name in parquet.schema_arrow.names if name != audio]
            for batch in parquet.iter_batches(columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    yield number, fields
    except pa.ArrowException as error:
        raise FileFormatError(f"{path}: is no Parquet file that can be read: {error}") from None


def _checked(fields: Any, path: Path, number: int) -> Fields:
    if not isinstance(fields, dict):
        raise FileFormatError(f"{path}:{number}: is a {type(fields).__name__}; wanted an object")
    return fields
