"""The exact index: vectors in memory or mapped from disk, searched row by row with float32 sums.

Source: own; the search is kernels/topk.py. Knows nothing of models beyond their fingerprint.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ...errors import FingerprintError, InputError
from ...kernels.topk import topk
from ..fingerprint import Fingerprint, require_same
from ..quantize import quantize
from .expression import evaluate
from .hits import Hits
from .rows import make_rows, refuse_not_finite
from .store import DTYPES, Stored, open_stored, save, verify


class Index:
    """Made by `Index.build` or `Index.open`; may be searched from several threads."""

    def __init__(self, stored: Stored, folder: Path | None = None) -> None:
        self._stored, self._folder = stored, folder
        self._corpus = torch.from_numpy(stored.vectors)
        self._scales = None if stored.scales is None else torch.from_numpy(stored.scales)

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        ids: Sequence[str | os.PathLike[str]] | None = None,
        *,
        fingerprint: Fingerprint | None = None,
        metadata: Mapping[str, Sequence[Any]] | pa.Table | None = None,
        dtype: str = "float32",
        made_with: Mapping[str, Any] | None = None,
    ) -> "Index":
        """Make an index in memory.

        Args:
            vectors: [n, d] of any float dtype, finite; float32 rows are used as they are, without a copy.
            ids: [n] different strings or paths; None: "0", "1", ...
            fingerprint: of the vectors; searches that name another are refused.
            metadata: columns of n values each, kept beside the ids.
            dtype: what is stored: "float32"; "float16" halves the memory and rounds; "int8" quarters it, with a scale a row.
            made_with: how to load the model that made the vectors.

        Raises:
            InputError: wrong shape or dtype, a row with NaN or infinity, an id given twice, columns of another length.
        """
        array = np.asarray(vectors)
        if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
            raise InputError(f"vectors must be [n, d] of floats, got {list(array.shape)} {array.dtype}")
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; wanted one of {list(DTYPES)}")
        array = np.require(array, np.float32, ["C", "W"])
        rows = make_rows(ids, len(array), metadata)
        refuse_not_finite(array, rows, "")
        stored, scales = array, None
        if dtype == "int8":
            stored, scales = quantize(array)
        elif dtype == "float16":
            with np.errstate(over="ignore"):
                stored = array.astype(np.float16)
            refuse_not_finite(stored, rows, " as float16")
        return cls(Stored(stored, scales, rows, fingerprint, dict(made_with or {})))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Index":
        """Map an index that `save` wrote; no row is read.

        Raises:
            FileFormatError: no index, one of another version, or a file that is missing or cut.
        """
        return cls(open_stored(Path(path)), Path(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a folder, by custom NAME.harken; an index that stands there is replaced in one step.

        Raises:
            OutputError: the place holds something else, or cannot be written.
        """
        save(self._stored, Path(path))

    def verify(self) -> None:
        """Compare every byte on disk with its sha256.

        Raises:
            InputError: the index was not opened from disk.
            FileFormatError: names the damaged file.
        """
        if self._folder is None:
            raise InputError("this index is not on disk; wanted one from Index.open")
        verify(self._folder)

    def __len__(self) -> int:
        return len(self._stored.vectors)

    @property
    def dim(self) -> int:
        return self._stored.vectors.shape[1]

    @property
    def dtype(self) -> str:
        return self._stored.vectors.dtype.name

    @property
    def ids(self) -> list[str]:
        return self._stored.rows["id"].to_pylist()

    @property
    def metadata(self) -> pa.Table:
        """The columns given to `build`, a row a vector."""
        return self._stored.rows.drop_columns(["id"])

    @property
    def fingerprint(self) -> Fingerprint | None:
        return self._stored.fingerprint

    @property
    def made_with(self) -> dict[str, Any]:
        """How to load the model that made the vectors; empty if not known."""
        return dict(self._stored.made_with)

    def where(self, condition: str) -> np.ndarray:
        """Rows that satisfy a condition on "id" and the metadata columns, such as "duration_s < 10 and label == 'dog'".

        Args:
            condition: as expression.py tells.

        Returns: bool [n].

        Raises:
            InputError: it is no condition, or names a column that is not there.
        """
        return evaluate(condition, self._stored.rows)

    def rows(self, positions: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Id and metadata of rows."""
        return self._stored.rows.take(pa.array(positions, pa.int64())).to_pylist()

    def vectors(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows as float32 [m, d]; those of an int8 index are scaled back.

        Raises:
            InputError: a position that the index does not have.
        """
        wanted = np.asarray(positions, np.int64)
        if wanted.ndim != 1 or ((wanted < 0) | (wanted >= len(self))).any():
            raise InputError(f"positions must be [m] of 0..{len(self) - 1}, got {wanted.tolist()[:10]}")
        rows = self._stored.vectors[wanted].astype(np.float32)
        return rows if self._stored.scales is None else rows * self._stored.scales[wanted, None]

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        filter: str | np.ndarray | Sequence[str] | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> Hits:
        """Find the k nearest rows of each query by inner product, exactly.

        Args:
            queries: [q, d] or [d] of any float dtype.
            k: 1..1024; may exceed the number of rows.
            filter: rows that may be found: a condition on columns (see `where`), bool [n], or ids. None: all.
            fingerprint: of the queries; must be that of the index.

        Returns: hits, best first, ties by position.

        Raises:
            InputError: queries of another shape or not finite, a filter that does not fit, an unknown id.
            FingerprintError: the queries were made otherwise than the index; both are named.
        """
        if fingerprint is not None:
            if self.fingerprint is None:
                raise FingerprintError(f"queries are of {fingerprint}; the index has no fingerprint to compare with")
            require_same(self.fingerprint, fingerprint, "index and queries")
        array = np.asarray(queries)
        if array.ndim not in (1, 2) or array.shape[-1] != self.dim or array.dtype.kind != "f":
            raise InputError(
                f"queries must be [q, {self.dim}] or [{self.dim}] of floats, got {list(array.shape)} {array.dtype}"
            )
        found = topk(
            torch.from_numpy(np.array(np.atleast_2d(array), np.float32)),
            self._corpus,
            k,
            scales_N=self._scales,
            keep=None if filter is None else torch.from_numpy(self._mask(filter)),
        )
        positions = found.ids_QK.numpy()
        names = self._stored.rows["id"]
        ids = [[names[int(p)].as_py() for p in row if p >= 0] for row in positions]
        return Hits(ids, positions, found.scores_QK.numpy())

    def _mask(self, filter: Any) -> np.ndarray:
        """A filter as bool [n]."""
        if isinstance(filter, str):
            return self.where(filter)
        array = np.asarray(filter)
        if array.dtype == bool and array.shape == (len(self),):
            return np.array(array)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "UO"):
            raise InputError(
                f"filter must be a condition, bool [{len(self)}] or a list of ids, got {list(array.shape)} {array.dtype}"
            )
        wanted = pa.array([str(name) for name in filter], pa.string())
        positions = pc.index_in(wanted, value_set=self._stored.rows["id"])
        if positions.null_count:
            unknown = wanted[positions.is_null().index(True).as_py()].as_py()
            raise InputError(f"filter names id {unknown!r}, which is not in the index")
        mask = np.zeros(len(self), bool)
        mask[positions.to_numpy(zero_copy_only=False)] = True
        return mask
