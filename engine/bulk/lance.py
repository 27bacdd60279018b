"""A finished bulk run as a Lance dataset: rows in the manifest's order, vectors as they are stored.

Lance names its files at random, so two datasets of one run hold the same rows in other bytes.

Source: own; Lance's `write_dataset`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BackendError, FileFormatError, InputError, OutputError
from ..durable import TMP, sync
from .identity import require_identity
from .ledger import finished_parts


def lance_run(run: Path, out: Path) -> int:
    """Write the vectors of a Parquet run as a Lance dataset, which is there wholly or not at all.

    Args:
        run: folder of the run.
        out: folder of the dataset, by custom NAME.lance; must not be there yet.

    Returns: the number of rows.

    Raises:
        BackendError: the package pylance is not installed.
        InputError: `out` is there, or the run is of another format.
        FileFormatError: no run's folder, or a part is missing or damaged.
        OutputError: the dataset cannot be written.
    """
    lance = _lance()
    identity, parts = require_identity(run), finished_parts(run)
    if identity["settings"]["format"] != "parquet":
        raise InputError(f"{run}: is of format {identity['settings']['format']}; wanted parquet to make Lance of")
    if out.exists():
        raise InputError(f"{out}: is there already; wanted a new name")
    paths = [run / "vectors" / f"part-{part.part:06d}.parquet" for part in parts]
    aside = out.with_name(out.name + TMP)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        schema = [pq.read_metadata(path) for path in paths][0].schema.to_arrow_schema()
        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, _batches(paths)), str(aside), schema=schema)
        os.replace(aside, out)
        sync(out.parent)
    except pa.ArrowException as error:
        raise FileFormatError(f"{run}: a part cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sum(part.num_ok for part in parts)


def _batches(paths: list[Path]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        with pq.ParquetFile(path) as parquet:
            yield from parquet.iter_batches(1024)


def _lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise BackendError(f"Lance wants the package pylance: {error}; pip install 'harken[lance]'") from None
    return lance
