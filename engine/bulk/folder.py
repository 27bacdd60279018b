"""The folder of a bulk run: whether it may be used, and the manifest that is in it.

Source: own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ...errors import InputError, OutputError
from ..durable import TMP
from . import identity, lock
from . import manifest as manifests
from .freezing import freeze
from .manifest import Manifest, describe_inputs


def refuse_foreign(out: Path) -> None:
    """Raise InputError for a folder that holds anything but a run, or is none."""
    if not out.exists() or (out / identity.NAME).exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file; wanted a folder")
    ours = (lock.NAME, manifests.NAME)
    others = sorted(p.name for p in out.iterdir() if p.name not in ours and not p.name.endswith(TMP))
    if others:
        raise InputError(f"{out}: holds {', '.join(others[:3])} and is no run's folder; wanted a new or empty one")


def manifest_of(
    inputs: Sequence[str], out: Path, duplicates: Literal["refuse", "first"], num_first: int | None
) -> Manifest:
    """The manifest of a run, frozen now if it has none. The caller holds the lock.

    Raises:
        InputError: the run is for another manifest, or the inputs are none.
        OutputError: it cannot be written.
    """
    path = out / manifests.NAME
    try:
        if not (out / identity.NAME).exists():
            return freeze(inputs, path, duplicates=duplicates, num_first=num_first)
        known = Manifest.open(path)
        if known.inputs == describe_inputs(inputs, duplicates=duplicates, num_first=num_first):
            return known
        asked_path = path.with_name("asked.parquet" + TMP)
        asked = freeze(inputs, asked_path, duplicates=duplicates, num_first=num_first)
        asked_path.unlink()
    except OSError as error:
        raise output_error(out, error) from None
    if asked.sha256 != known.sha256:
        raise InputError(f"{out}: is for {known.label}, but the input is {asked.label}; give another folder")
    return known


def output_error(out: Path, error: OSError) -> OutputError:
    """What to raise where a run's folder cannot be written to."""
    return OutputError(f"{out}: cannot be written to: {error.strerror or error}; what is done is kept, start again")
