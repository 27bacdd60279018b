"""An entry of the manifest to something that `decode` takes: a local path, or the bytes of the sound.

Source: own.
"""

import os
import time
from collections import OrderedDict
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import AudioError
from . import files
from .entry import Entry
from .scan import audio_column

# Waits before a remote file is asked for again.
RETRIES_S = (0.5, 2.0, 8.0)


def fetch(entry: Entry, parquets: "ParquetSounds") -> str | bytes:
    """The sound's path, or its bytes.

    Raises:
        AudioError: it is not there or cannot be read.
    """
    if entry.row is not None:
        return parquets.get(entry.uri, entry.row)
    if files.is_remote(entry.uri):
        return _remote_bytes(entry)
    path = files.local(entry.uri)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise AudioError(f"{entry.name}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{entry.name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    try:
        if entry.offset_bytes is None:
            return path
        return _whole(_pread(descriptor, entry.size_bytes or 0, entry.offset_bytes), entry)
    except OSError as error:
        raise AudioError(f"{entry.name}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    blocks: list[bytes] = []
    while size > 0 and (block := os.pread(descriptor, min(size, 1 << 24), offset)):
        blocks.append(block)
        size, offset = size - len(block), offset + len(block)
    return b"".join(blocks)


def _whole(data: bytes, entry: Entry) -> bytes:
    if entry.size_bytes is not None and len(data) != entry.size_bytes:
        raise AudioError(f"{entry.name}: {len(data)} bytes are there; wanted {entry.size_bytes}")
    return data


def _remote_bytes(entry: Entry) -> bytes:
    for wait_s in (*RETRIES_S, None):
        try:
            system, path = files.remote(entry.uri)
            if entry.offset_bytes is None:
                return system.cat_file(path)
            end = entry.offset_bytes + (entry.size_bytes or 0)
            return _whole(system.cat_file(path, start=entry.offset_bytes, end=end), entry)
        except FileNotFoundError:
            raise AudioError(f"{entry.name}: there is no such file") from None
        except Exception as error:  # each file system raises its own kinds
            if wait_s is None or isinstance(error, AudioError):
                raise AudioError(f"{entry.name}: cannot be read: {type(error).__name__}: {error}") from None
            time.sleep(wait_s)
    raise AssertionError("unreachable")


class ParquetSounds:
    """Sounds in Parquet files by row; the row groups last used are kept, because rows are asked for in order."""

    NUM_KEPT = 2

    def __init__(self) -> None:
        self._lock = Lock()
        self._files: OrderedDict[str, tuple[pq.ParquetFile, list[int], str]] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], list[Any]] = OrderedDict()

    def get(self, uri: str, row: int) -> str | bytes:
        """Bytes, or the path, of the sound in a row.

        Raises:
            AudioError: the file or the row is not there, or the row holds no sound.
        """
        name = f"{uri} row {row}"
        try:
            with self._lock:
                value = self._row(uri, row)
        except (OSError, pa.ArrowException) as error:
            raise AudioError(f"{name}: cannot be read: {error}") from None
        if isinstance(value, dict) and value.get("bytes") is not None:
            return value["bytes"]
        if isinstance(value, dict) and value.get("path"):
            path = str(value["path"])
            return path if os.path.isabs(path) else os.path.join(os.path.dirname(files.local(uri)), path)
        raise AudioError(f"{name}: holds neither bytes nor a path")

    def _row(self, uri: str, row: int) -> Any:
        parquet, ends, column = self._open(uri)
        group = next((g for g, end in enumerate(ends) if row < end), None)
        if group is None:
            raise AudioError(f"{uri}: has {ends[-1] if ends else 0} rows; wanted row {row}")
        if (uri, group) not in self._groups:
            self._groups[uri, group] = parquet.read_row_group(group, columns=[column]).column(0)
            if len(self._groups) > self.NUM_KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end((uri, group))
        return self._groups[uri, group][row - (ends[group - 1] if group else 0)].as_py()

    def _open(self, uri: str) -> tuple[pq.ParquetFile, list[int], str]:
        if uri not in self._files:
            parquet = pq.ParquetFile(files.open_file(uri), memory_map=False)
            column = audio_column(parquet.schema_arrow)
            if column is None:
                raise AudioError(f"{uri}: has no column of sounds any more")
            ends, total = [], 0
            for group in range(parquet.num_row_groups):
                total += parquet.metadata.row_group(group).num_rows
                ends.append(total)
            self._files[uri] = parquet, ends, column
            if len(self._files) > self.NUM_KEPT:
                self._files.popitem(last=False)[1][0].close(force=True)
        self._files.move_to_end(uri)
        return self._files[uri]
