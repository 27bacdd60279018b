"""Batches of rows from more data than memory holds, in an order that seed, epoch and inputs alone decide.

    shards, permuted anew each epoch -> groups of `mix` shards -> the rows of a group permuted -> batches 0, 1, 2, ...
    rank r of R takes batches r, r + R, ...;  worker w of W takes every W-th of these, from its w-th

A DataLoader asks its workers in turn, so the batches come in this order whatever the number of workers, and a run that was
stopped goes on at any batch, with any number of workers: no row comes twice, none is lost. Sounds are read where they are
asked for; nothing before a position is read to get there but the lists of its group.

Source: own.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from ...engine.bulk.fetch import ParquetSounds
from ...errors import AudioError, InputError
from .record import RecordError
from .row import Row, Rows
from .shards import Get, find_shards

# Keep random draws for different purposes apart.
_SHARDS, _ROWS = 0, 1


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows, and a line for each that was to be among them and cannot be read; a batch is shorter by these."""

    rows: list[Row]
    problems: list[str]
    epoch: int
    # In the epoch, over all ranks.
    number: int


class RowStream(IterableDataset[RowBatch]):
    """The batches of an epoch; give it to a DataLoader with batch_size=None, and call `set_epoch` before each epoch.

    Args:
        inputs: folders, tars, Parquet files, lists, patterns, or rows that `read_dataset` gave.
        batch_size: rows a batch.
        seed: of the order.
        shuffle: False: the order of the inputs.
        mix: shards whose rows are mixed; more mixes better and keeps more lists and row groups in memory.
        rank, num_ranks: which of how many processes this is; all get the same number of batches.

    Raises:
        InputError: a number is off, or fewer rows are there than a batch a rank wants; else as `find_shards`.
    """

    def __init__(
        self,
        inputs: Sequence[str | Path | Rows],
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        mix: int = 4,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if batch_size < 1 or mix < 1 or not 0 <= rank < num_ranks:
            raise InputError(
                f"batch_size, mix, rank, num_ranks are {batch_size}, {mix}, {rank}, {num_ranks}; "
                "wanted at least 1, at least 1, and a rank from 0 below num_ranks"
            )
        self.shards = find_shards(inputs)
        self.batch_size, self.seed, self.shuffle, self.mix = batch_size, seed, shuffle, mix
        self.rank, self.num_ranks = rank, num_ranks
        self.num_rows = sum(shard.size for shard in self.shards)
        if self.num_rows < batch_size * num_ranks:
            raise InputError(f"{self.num_rows} rows are there; wanted {batch_size} for each of {num_ranks} processes")
        self.epoch = 0
        self._start = 0
        self._order: _Order | None = None

    def __len__(self) -> int:
        """Batches of an epoch for this rank; what is left at the end of the order and fills none is left out."""
        return self.num_rows // (self.batch_size * self.num_ranks)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration gives, from its beginning. Persistent workers of a DataLoader do not hear of it."""
        self.epoch, self._start = epoch, 0

    def state_after(self, batch: RowBatch) -> dict[str, Any]:
        """What `load_state` wants in order to go on behind this batch, the same on all ranks."""
        done = batch.number // self.num_ranks + 1
        end = done >= len(self)
        return {
            "epoch": batch.epoch + end,
            "num_done": 0 if end else done * self.num_ranks,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "inputs": self._inputs(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state_after` says.

        Raises:
            InputError: the state is of other inputs, another seed or batch size, or its place is none of this stream.
        """
        mine = {"batch_size": self.batch_size, "seed": self.seed, "inputs": self._inputs()}
        for name, value in mine.items():
            if state.get(name) != value:
                raise InputError(f"the state's {name} is {state.get(name)!r}; this stream's is {value!r}")
        if state["num_done"] % self.num_ranks or not 0 <= state["num_done"] < len(self) * self.num_ranks:
            raise InputError(
                f"{state['num_done']} batches are done; {self.num_ranks} processes cannot go on from there"
            )
        self.epoch, self._start = state["epoch"], state["num_done"]

    def _inputs(self) -> str:
        told = "\n".join(f"{shard.name} {shard.size}" for shard in self.shards)
        return hashlib.sha256(f"{told} {self.shuffle} {self.mix}".encode()).hexdigest()[:16]

    def __iter__(self) -> Iterator[RowBatch]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch, start = self.epoch, self._start // self.num_ranks
        for turn in range(start + first, len(self), step):
            yield self._batch(epoch, turn * self.num_ranks + self.rank)

    def _batch(self, epoch: int, number: int) -> RowBatch:
        if self._order is None or self._order.epoch != epoch:
            self._order = _Order(self, epoch)
        rows: list[Row] = []
        problems: list[str] = []
        for position in range(number * self.batch_size, (number + 1) * self.batch_size):
            name, get = self._order[position]
            try:
                rows.append(get())
            except (RecordError, AudioError, OSError) as error:
                problems.append(f"{name}: {error}")
        return RowBatch(rows, problems, epoch, number)

    def __getstate__(self) -> dict[str, Any]:
        """Without open files, for worker processes."""
        return {**self.__dict__, "_order": None}


class _Order:
    """The rows of one epoch by their position in it."""

    def __init__(self, stream: RowStream, epoch: int) -> None:
        self._shards, self._seed, self._shuffle, self.epoch = stream.shards, stream.seed, stream.shuffle, epoch
        order = np.arange(len(self._shards))
        if self._shuffle:
            order = np.random.default_rng([self._seed, _SHARDS, epoch]).permutation(len(self._shards))
        self._groups = [order[i : i + stream.mix].tolist() for i in range(0, len(order), stream.mix)]
        self._ends = np.cumsum([sum(self._shards[i].size for i in group) for group in self._groups])
        self._parquets = ParquetSounds()
        self._parquets.NUM_KEPT = stream.mix + 1
        self._listed: dict[int, list[tuple[str, Get]]] = {}

    def __getitem__(self, position: int) -> tuple[str, Get]:
        """The shard's name, and what gives the row."""
        group = int(np.searchsorted(self._ends, position, side="right"))
        if group not in self._listed:
            # A batch may lie across two groups.
            self._listed = {g: rows for g, rows in self._listed.items() if g == group - 1}
            self._listed[group] = self._list(group)
        return self._listed[group][position - (int(self._ends[group - 1]) if group else 0)]

    def _list(self, group: int) -> list[tuple[str, Get]]:
        rows: list[tuple[str, Get]] = []
        for i in self._groups[group]:
            shard = self._shards[i]
            found = [(shard.name, get) for get in shard.gets(self._parquets)]
            if len(found) != shard.size:
                raise InputError(
                    f"{shard.name}: has {len(found)} rows now and had {shard.size} before; was it changed?"
                )
            rows += found
        if not self._shuffle:
            return rows
        permuted = np.random.default_rng([self._seed, _ROWS, self.epoch, group]).permutation(len(rows))
        return [rows[i] for i in permuted.tolist()]
