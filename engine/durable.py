"""Files that are there wholly or not at all, also after a kill or a power cut.

    write <name>.tmp -> fsync -> rename to <name> -> fsync of the folder

Source: own; POSIX rename(2) replaces in one step.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TMP = ".tmp"


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written appears at `path` when the block ends well, and is removed when not."""
    aside = path.with_name(path.name + TMP)
    try:
        yield aside
        sync(aside)
        os.replace(aside, path)
        sync(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """fsync of a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
