"""Listing all sounds of a run once, and what is missing or doubled among them, before work begins.

Memory grows by 32 bytes a row, by which rows of the same id, or of the same place, are found; all else goes through files.

Source: own.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from ..durable import TMP, written_aside
from . import files, manifest
from .entry import SCHEMA, Entry
from .manifest import KEY, Manifest, describe_inputs
from .scan import scan

# How many missing or doubled names a report lists.
NUM_NAMED = 10


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
        doubled = _doubled(aside, _occur_twice(counts.ids))
        if doubled:
            if duplicates == "refuse":
                raise InputError(
                    f"{len(doubled)} ids stand for more than one sound: {_named(doubled)}; give each its own id, or keep "
                    "the first of each (--duplicates first)"
                )
            counts = _write(unique, _firsts(aside, doubled))
            unique.replace(aside)
        if not counts.num_rows:
            raise InputError(f"{', '.join(inputs)}: no sound was found")
        num_repeated, repeated = _repeated(aside, _occur_twice(counts.places))
        values = {
            "sha256": counts.digest,
            "num_rows": counts.num_rows,
            "num_bytes": counts.num_bytes,
            "num_missing": counts.num_missing,
            "missing": counts.missing,
            "num_repeated": num_repeated,
            "repeated": repeated,
            "num_dropped": sum(doubled.values()),
            "inputs": describe_inputs(inputs, duplicates=duplicates, num_first=num_first),
        }
        _write(unique, _read(aside), metadata={KEY: json.dumps(values)})
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
    missing: list[str] = field(default_factory=list)
    digest: str = ""


def _write(path: Path, entries: Iterable[Entry], metadata: dict[bytes, str] | None = None) -> _Counts:
    counts, digest, iterator = _Counts(array("Q"), array("Q")), hashlib.sha256(), iter(entries)
    schema = SCHEMA.with_metadata(metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := list(islice(iterator, manifest.ROW_GROUP)):
            for entry in rows:
                _count(counts, entry)
                try:
                    digest.update(entry.line())
                except UnicodeEncodeError:
                    raise InputError(f"{entry.uri!r}: the name is not UTF-8; wanted one that is") from None
            columns = zip(*(astuple(entry) for entry in rows))
            arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=manifest.ROW_GROUP)
    counts.digest = digest.hexdigest()
    return counts


def _count(counts: _Counts, entry: Entry) -> None:
    counts.num_rows += 1
    counts.ids.append(_hash64(entry.id))
    counts.places.append(_hash64(repr(entry.place)))
    counts.num_bytes += entry.size_bytes or 0
    if entry.size_bytes is None and entry.row is None and not files.is_remote(entry.uri):
        counts.num_missing += 1
        if len(counts.missing) < NUM_NAMED:
            counts.missing.append(entry.name)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _named(names: Iterable[str]) -> str:
    first = list(islice(names, NUM_NAMED + 1))
    return ", ".join(first[:NUM_NAMED]) + (" ..." if len(first) > NUM_NAMED else "")


def _occur_twice(hashes: array) -> np.ndarray:
    if not len(hashes):
        return np.zeros(0, np.uint64)
    ordered = np.sort(np.frombuffer(hashes, np.uint64))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _read(path: Path) -> Iterator[Entry]:
    with pq.ParquetFile(path) as parquet:
        for group in range(parquet.num_row_groups):
            for row in zip(*(column.to_pylist() for column in parquet.read_row_group(group).columns)):
                yield Entry(*row)


def _doubled(path: Path, hashes: np.ndarray) -> dict[str, int]:
    """Ids that occur more than once, and how often beyond the first time."""
    suspects, seen = set(hashes.tolist()), dict[str, int]()
    for entry in _read(path) if suspects else ():
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


def _repeated(path: Path, hashes: np.ndarray) -> tuple[int, list[str]]:
    """How many rows name a place that an earlier row names, and the ids of the first of them."""
    suspects, seen, num_repeated, names = set(hashes.tolist()), set[tuple[object, ...]](), 0, list[str]()
    for entry in _read(path) if suspects else ():
        if _hash64(repr(entry.place)) in suspects:
            if entry.place in seen:
                num_repeated += 1
                names += [entry.id] if len(names) < NUM_NAMED else []
            seen.add(entry.place)
    return num_repeated, names
