"""A folder that is there whole or not at all, whoever builds it and whenever they are stopped.

    lock -> build in `<name>.partial-<pid>` -> fsync -> rename to `<name>` -> unlock

Processes that find the lock taken wait, and then find the folder.

Source: own; the lock is flock, which the system frees when its holder dies.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Give `folder`, made by `build` if it is not there.

    Args:
        folder: where the result belongs; its parent is created.
        build: fills the empty folder it is given; what it raises is passed on and leaves nothing behind.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return folder
        for left_over in folder.parent.glob(folder.name + ".partial-*"):
            shutil.rmtree(left_over)
        partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
        partial.mkdir()
        try:
            build(partial)
            for path in (*sorted(partial.iterdir()), partial):
                _sync(path)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _sync(folder.parent)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        try:
            import fcntl
        except ImportError:  # no flock on this system: the rename alone keeps the folder whole
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
