"""An index as a file of faiss or usearch, and back: inner product, exact in faiss, a graph in usearch.

    NAME.faiss    IndexIDMap2(IndexFlatIP) of float32          NAME.usearch    HNSW, metric "ip"
    NAME.faiss.ids.parquet, NAME.usearch.ids.parquet           row i: what key i stands for, "id" and metadata

Source: faiss's write_index; usearch's save. Both packages are optional.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BackendError, FileFormatError, InputError, OutputError
from ..durable import written_aside
from .index import Index
from .store import Stored, open_stored

SUFFIXES = (".faiss", ".usearch")
# Rows turned to float32 at once.
CHUNK_ROWS = 1 << 16


def export(path: Path, out: Path) -> None:
    """Write an index as a file of the library that the ending of `out` names.

    Raises:
        InputError: `out` ends in neither .faiss nor .usearch.
        BackendError: the library is not installed.
        OutputError: the files cannot be written.
    """
    _check_suffix(out)
    stored = open_stored(path)
    library = _library(out)
    try:
        with written_aside(out) as aside:
            if out.suffix == ".faiss":
                index = library.IndexIDMap2(library.IndexFlatIP(stored.vectors.shape[1]))
                for start, vectors in _chunks(stored):
                    index.add_with_ids(vectors, np.arange(start, start + len(vectors), dtype=np.int64))
                library.write_index(index, str(aside))
            else:
                graph = library.Index(ndim=stored.vectors.shape[1], metric="ip", dtype="f32")
                for start, vectors in _chunks(stored):
                    graph.add(np.arange(start, start + len(vectors), dtype=np.uint64), vectors)
                graph.save(str(aside))
        with written_aside(_ids_path(out)) as aside:
            pq.write_table(stored.rows, aside)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None


def import_(path: Path) -> Index:
    """An index of the vectors in a faiss or usearch file.

    Args:
        path: .faiss with a flat index of inner products, or .usearch; ids are read from the file beside it, if there
            is one, else they are the keys.

    Raises:
        InputError: another ending.
        BackendError: the library is not installed.
        FileFormatError: the file cannot be read, or keeps no vectors as they were.
    """
    _check_suffix(path)
    library = _library(path)
    if not path.is_file():
        raise FileFormatError(f"{path}: there is no such file")
    try:
        keys, vectors = _read_faiss(library, path) if path.suffix == ".faiss" else _read_usearch(library, path)
    except FileFormatError:
        raise
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not _ids_path(path).is_file():
        return Index.build(vectors, [str(key) for key in keys])
    rows = pq.read_table(_ids_path(path))
    if len(keys) and int(keys.max()) >= len(rows):
        raise FileFormatError(f"{_ids_path(path)}: has {len(rows)} rows; wanted one for key {int(keys.max())}")
    rows = rows.take(pa.array(keys.astype(np.int64)))
    metadata = rows.drop_columns(["id"]) if rows.num_columns > 1 else None
    return Index.build(vectors, rows["id"].to_pylist(), metadata=metadata)


def _read_faiss(library: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    # The outer index owns the inner one: it has to stay.
    whole = library.read_index(str(path))
    keys, flat = np.arange(whole.ntotal), whole
    if isinstance(whole, library.IndexIDMap | library.IndexIDMap2):
        keys, flat = library.vector_to_array(whole.id_map), library.downcast_index(whole.index)
    if not isinstance(flat, library.IndexFlat) or flat.metric_type != library.METRIC_INNER_PRODUCT:
        raise FileFormatError(f"{path}: is a {type(flat).__name__}; wanted a flat index of inner products")
    return keys, np.array(flat.reconstruct_n(0, flat.ntotal), np.float32)


def _read_usearch(library: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    graph = library.Index.restore(str(path))
    if graph is None:
        raise FileFormatError(f"{path}: is no usearch file")
    if graph.dtype != library.ScalarKind.F32:
        raise FileFormatError(f"{path}: stores {graph.dtype}; wanted float32, which keeps vectors as they were")
    keys = np.sort(np.asarray(graph.keys))
    return keys, np.asarray(graph.get(keys), np.float32).reshape(len(keys), graph.ndim)


def _chunks(stored: Stored) -> Any:
    for start in range(0, len(stored.vectors), CHUNK_ROWS):
        vectors = np.asarray(stored.vectors[start : start + CHUNK_ROWS], np.float32)
        if stored.scales is not None:
            vectors = vectors * stored.scales[start : start + CHUNK_ROWS, None]
        yield start, np.ascontiguousarray(vectors)


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: ends in {path.suffix!r}; wanted one of {list(SUFFIXES)}")


def _library(path: Path) -> Any:
    try:
        if path.suffix == ".faiss":
            import faiss

            return faiss
        import usearch.index

        return usearch.index
    except ImportError as error:
        package = "faiss-cpu" if path.suffix == ".faiss" else "usearch"
        raise BackendError(f"{path}: wants the package {package}, which cannot be imported: {error}") from None


def _ids_path(path: Path) -> Path:
    return path.with_name(path.name + ".ids.parquet")
