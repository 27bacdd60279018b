"""A folder written aside and renamed when it is whole; what goes wrong with the disk is one clear error.

    write_folder(out, build): `build` fills <out>.partial-<pid>, whose files are synced before it becomes <out>

Source: own; the writing aside is convert/folder.py's.
"""

import errno
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError

from ...errors import OutputError
from ..convert.folder import build_once
from ..durable import sync

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Kept free beyond what the weights take.
_SPARE_BYTES = 64 << 20


def write_folder(out: Path, build: Callable[[Path], None], *, num_bytes: int = 0) -> Path:
    """Make `out`.

    Args:
        out: a folder that is not there yet; its parents are created.
        build: fills the empty folder it is given; what it raises leaves nothing behind.
        num_bytes: about what it will write, refused at once where the disk has less.

    Raises:
        OutputError: `out` exists, the disk is full, or the place cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out}: is there already; wanted a folder that can be made")

    def build_and_sync(folder: Path) -> None:
        build(folder)
        for path in folder.rglob("*"):
            sync(path)

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if num_bytes and free < num_bytes + _SPARE_BYTES:
            raise OutputError(
                f"{out}: the export takes about {num_bytes / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free"
            )
        return build_once(out, build_and_sync)
    except OutputError:
        raise
    except (OSError, SafetensorError) as error:
        # safetensors gives the system's error as text alone.
        full = getattr(error, "errno", None) in _FULL or any(f"os error {code}" in str(error) for code in _FULL)
        raise OutputError(f"{out}: {'the disk is full' if full else f'cannot be written: {error}'}") from error
    finally:
        out.with_name(out.name + ".lock").unlink(missing_ok=True)


def total_bytes(files: Iterable[Path]) -> int:
    """The sizes of files that are there, added up."""
    return sum(file.stat().st_size for file in files if file.is_file())
