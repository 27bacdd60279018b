"""The list of everything a bulk run will do, frozen before it begins.

    sha256 = of one JSON line a row, in order

A Parquet file with the columns of `entry.SCHEMA`; memory does not grow with it but for 16 bytes a row while it is made,
by which rows of the same id, or of the same place, are found.

Source: own.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FileFormatError, InputError
from ..durable import TMP, sha256_of, written_aside
from . import files
from .entry import SCHEMA, Entry
from .scan import scan

NAME = "manifest.parquet"
ROW_GROUP = 16384
# How many missing or doubled names a report lists.
NUM_NAMED = 10
_KEY = b"harken.manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A frozen list of sounds. Made by `freeze`, opened by `Manifest.open`."""

    path: Path
    sha256: str
    num_rows: int
    # Bytes of all files that tell their size.
    num_bytes: int
    # Local files that are not there, and the first of them.
    num_missing: int
    missing: tuple[str, ...]
    # Rows of a file and part that an earlier row names too, under another id, and the first of them.
    num_repeated: int
    repeated: tuple[str, ...]
    # Rows left out because an earlier one has their id.
    num_dropped: int
    # What the user named, as `describe_inputs` tells it.
    inputs: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Manifest":
        """Read back what `freeze` wrote.

        Raises:
            FileFormatError: no manifest of this version.
        """
        try:
            kept = pq.read_schema(path).metadata or {}
            values = json.loads(kept[_KEY])
            values["missing"], values["repeated"] = tuple(values["missing"]), tuple(values["repeated"])
            return cls(path=path, **values)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise FileFormatError(f"{path}: is no manifest that can be read: {error}") from None

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The rows [start, stop)."""
        found: list[Entry] = []
        with pq.ParquetFile(self.path) as parquet:
            first = start // ROW_GROUP
            for group in range(first, min(parquet.num_row_groups, -(-stop // ROW_GROUP))):
                table = parquet.read_row_group(group)
                begin = group * ROW_GROUP
                part = table.slice(max(0, start - begin), min(stop, begin + ROW_GROUP) - max(start, begin))
                found += [Entry(*row) for row in zip(*(part.column(i).to_pylist() for i in range(part.num_columns)))]
        return found

    @property
    def label(self) -> str:
        """How an error calls it."""
        return f"{self.num_rows} sounds of {', '.join(self.inputs['names'])} (sha256 {self.sha256[:12]})"


def describe_inputs(inputs: Sequence[str], *, duplicates: str, num_first: int | None) -> dict[str, Any]:
    """What was named, with the hash of every local list: the same description stands for the same manifest."""
    lists = [p for p in inputs if files.suffix(p) in (".csv", ".tsv", ".jsonl", ".ndjson") and Path(p).is_file()]
    hashes = {path: sha256_of(Path(path)) for path in lists}
    return {"names": list(inputs), "lists": hashes, "duplicates": duplicates, "num_first": num_first}


def freeze(
    inputs: Sequence[str],
    path: Path,
    *,
    duplicates: Literal["refuse", "first"] = "refuse",
    num_first: int | None = None,
) -> Manifest:
    """List all sounds and write the manifest.

    Args:
        inputs: folders, patterns, lists, tars, Parquet files, sounds; paths or URLs.
        path: the manifest to write.
        duplicates: of rows with one id "refuse" all, or keep the "first".
        num_first: only that many rows from the front; None: all.

    Raises:
        InputError: no sound is found, an id occurs twice, or an input cannot be listed.
        FileFormatError: a list, tar or Parquet file among the inputs that cannot be read.
    """
    if not inputs:
        raise InputError("no input is named; wanted a folder, pattern, list, tar, Parquet file or sound")
    with written_aside(path) as aside, _removed(path.with_name(path.name + ".unique" + TMP)) as unique:
        counts = _write(aside, islice(scan(inputs), num_first))
        num_dropped = 0
        if len(counts.ids):
            twice = _occur_twice(counts.ids)
            doubled = _doubled(aside, twice) if len(twice) else {}
            if doubled and duplicates == "refuse":
                named = ", ".join(list(doubled)[:NUM_NAMED])
                raise InputError(
                    f"{len(doubled)} ids stand for more than one sound: {named}{' ...' if len(doubled) > NUM_NAMED else ''}; "
                    "give each its own id, or keep the first of each (--duplicates first)"
                )
            if doubled:
                num_dropped = sum(doubled.values())
                counts = _write(unique, _firsts(aside, doubled))
                unique.replace(aside)
        if not counts.num_rows:
            raise InputError(f"{', '.join(inputs)}: no sound was found")
        repeats = _occur_twice(counts.places)
        repeated = _repeated(aside, repeats) if len(repeats) else []
        values = {
            "sha256": counts.digest,
            "num_rows": counts.num_rows,
            "num_bytes": counts.num_bytes,
            "num_missing": counts.num_missing,
            "missing": counts.missing,
            "num_repeated": len(repeated),
            "repeated": repeated[:NUM_NAMED],
            "num_dropped": num_dropped,
            "inputs": describe_inputs(inputs, duplicates=duplicates, num_first=num_first),
        }
        _write(unique, _read(aside), metadata={_KEY: json.dumps(values)})
        unique.replace(aside)
    return Manifest.open(path)


@contextmanager
def _removed(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@dataclass
class _Counts:
    ids: array
    places: array
    num_rows: int = 0
    num_bytes: int = 0
    num_missing: int = 0
    missing: list[str] | None = None
    digest: str = ""


def _write(path: Path, entries: Iterable[Entry], metadata: dict[bytes, str] | None = None) -> _Counts:
    counts, digest, iterator = _Counts(array("Q"), array("Q"), missing=[]), hashlib.sha256(), iter(entries)
    schema = SCHEMA.with_metadata(metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := list(islice(iterator, ROW_GROUP)):
            for entry in rows:
                _count(counts, entry)
                try:
                    digest.update(entry.line())
                except UnicodeEncodeError:
                    raise InputError(f"{entry.uri!r}: the name is not UTF-8; wanted one that is") from None
            columns = zip(*(astuple(entry) for entry in rows))
            arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP)
    counts.digest = digest.hexdigest()
    return counts


def _count(counts: _Counts, entry: Entry) -> None:
    counts.num_rows += 1
    counts.ids.append(_hash64(entry.id))
    counts.places.append(_hash64(repr(entry.place)))
    counts.num_bytes += entry.size_bytes or 0
    if entry.size_bytes is None and entry.row is None and not files.is_remote(entry.uri):
        counts.num_missing += 1
        if counts.missing is not None and len(counts.missing) < NUM_NAMED:
            counts.missing.append(entry.name)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _occur_twice(hashes: array) -> np.ndarray:
    ordered = np.sort(np.frombuffer(hashes, np.uint64))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _read(path: Path) -> Iterator[Entry]:
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(ROW_GROUP):
            for row in zip(*(column.to_pylist() for column in batch.columns)):
                yield Entry(*row)


def _doubled(path: Path, hashes: np.ndarray) -> dict[str, int]:
    """Ids that occur more than once, and how often beyond the first time."""
    suspects, seen = set(hashes.tolist()), dict[str, int]()
    for entry in _read(path):
        if _hash64(entry.id) in suspects:
            seen[entry.id] = seen.get(entry.id, -1) + 1
    return {name: more for name, more in seen.items() if more}


def _firsts(path: Path, doubled: dict[str, int]) -> Iterator[Entry]:
    seen: set[str] = set()
    for entry in _read(path):
        if entry.id in seen:
            continue
        if entry.id in doubled:
            seen.add(entry.id)
        yield entry


def _repeated(path: Path, hashes: np.ndarray) -> list[str]:
    suspects, seen, names = set(hashes.tolist()), set[tuple[object, ...]](), list[str]()
    for entry in _read(path):
        if _hash64(repr(entry.place)) in suspects:
            if entry.place in seen:
                names.append(entry.id)
            seen.add(entry.place)
    return names
