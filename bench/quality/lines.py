"""The protocols' own files: JSON lines whose faults are named by file, row and column.

Source: own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import InputError
from ...training.data.record import Record, RecordError
from ...training.data.table import read_records


def lines(path: Path) -> Iterator[Record]:
    """The objects of a JSON lines file.

    Raises:
        InputError, FileFormatError: no such file, or a line that is no object.
    """
    for number, fields in read_records(path):
        yield Record(fields, path, number)


@contextmanager
def naming(record: Record) -> Iterator[None]:
    """A column that is missing or wrong becomes one error with file, row and column."""
    try:
        yield
    except RecordError as error:
        raise InputError(f"{record.path}:{record.number}: {error}") from None
