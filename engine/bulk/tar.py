"""Files in tars, found by their headers: what lies between is skipped, not read.

Source: own; POSIX.1-2001 pax tar (Python's tarfile); WebDataset's layout (one file a member, key before the first dot).
"""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from ...errors import FileFormatError
from . import files
from .entry import Entry


def sounds_in_tar(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Entries of the sound files in an uncompressed tar, in its order; errors as `files_in_tar`."""
    return (entry for entry in files_in_tar(file, uri) if files.is_sound(entry.member or ""))


def files_in_tar(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Entries of all regular files in an uncompressed tar, in its order.

    Raises:
        FileFormatError: no tar, a compressed one, or one that ends too early.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                # Without this tarfile keeps every header it has seen.
                tar.members = []  # type: ignore[attr-defined]
                if member.offset_data + member.size > size:
                    raise FileFormatError(f"{uri}: ends inside {member.name!r}; wanted the whole tar")
                if member.isreg() and not member.sparse:
                    yield Entry(
                        f"{os.path.basename(uri)}/{member.name}",
                        uri,
                        member=member.name,
                        offset_bytes=member.offset_data,
                        size_bytes=member.size,
                    )
    except tarfile.TarError as error:
        raise FileFormatError(f"{uri}: is no uncompressed tar that can be read: {error}") from None
