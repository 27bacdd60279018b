"""The published datasets by name.

Source: own.
"""

from pathlib import Path
from typing import Any

from ...errors import InputError
from .adapter import Adapter, read_rows
from .captioned import CAPTIONED
from .labelled import LABELLED
from .mecat import MECAT
from .questions import QUESTIONS
from .row import Rows
from .wavcaps import WAVCAPS

DATASETS: dict[str, Adapter] = {a.name: a for a in (*CAPTIONED, WAVCAPS, *LABELLED, MECAT, *QUESTIONS)}


def read_dataset(
    name: str,
    annotation: str | Path,
    audio_dir: str | Path | None = None,
    split: str | None = None,
    *,
    strict: bool = True,
    **options: Any,
) -> Rows:
    """Read the annotation file of a published dataset.

    Args:
        name: a key of DATASETS.
        annotation: the published file; for MECAT also a folder or a tar.
        audio_dir: where the sounds are; None: rows without sounds, and none is looked for.
        split: "train", "val" or "test", also by the names published files use. Rows that the file puts in another split are
            left out; a file that puts its rows in none is of this split. None: all rows, split by what file or name say.
        strict: raise at the first record that gives no row. False: such records are listed in `problems`.
        options: of the adapter; see `DATASETS[name].options`.

    Returns: the rows in the order of the file. A clip with several lines is one row.

    Raises:
        InputError: no such dataset, option or split; no file, or no row in it; with strict, a record whose column is missing,
            empty or wrong, whose id is there twice, or whose sound is not there: the text names file, record and column.
        FileFormatError: the file is not what its ending says.
    """
    if name not in DATASETS:
        raise InputError(f"dataset is {name!r}; wanted one of {', '.join(DATASETS)}")
    return read_rows(DATASETS[name], annotation, audio_dir, split, strict, options)
