"""Two processes open the same shards together: one index, one verdict, and parts of the batch that one process has."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing

from harken.training import parallel
from harken.training.draw import draw_rows
from harken.training.listening import LiveMels
from harken.training.rows import SourceSettings, open_sources

from . import shards

STEPS, BATCH = 3, 4


def _part(folder: Path) -> list[list[tuple[str, float]]]:
    """Id and sum of features of each of this process's rows."""
    found = open_sources([SourceSettings("webdataset", str(folder / "*.tar"))], folder / "rows", 8)
    listening = LiveMels(folder, verdicts=folder / "sounds")
    rows, problems = listening.usable(found.rows)
    assert len(problems) == 1 and "x.flac" in problems[0]
    drawn = [draw_rows(rows, step, 0, BATCH)[parallel.own_part(BATCH)] for step in range(STEPS)]
    return [[(row.id, float(f.sum())) for row, f in zip(own, listening.of(own))] for own in drawn]


def _process(rank: int, folder: str, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= dict(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with parallel.process_group():
        (Path(folder) / f"{rank}.json").write_text(json.dumps(_part(Path(folder))))


def test_parts_are_disjoint_and_make_up_the_batch_of_one_process(tmp_path):
    shards.write_tar(tmp_path / "a.tar", range(7))
    shards.write_tar(tmp_path / "b.tar", range(7, 13))
    with shards.tarfile.open(tmp_path / "b.tar", "a") as tar:
        shards.add(tar, "x.flac", b"fLaC")
        shards.add(tar, "x.txt", b"Sound 13")
    (tmp_path / "config.json").write_text('{"model_type": "midashenglm"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        # The new processes import this module by its name.
        patch.syspath_prepend(str(Path(__file__).parents[3]))
        multiprocessing.start_processes(_process, (str(tmp_path), port), nprocs=2, start_method="spawn")
    halves = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    together = [[tuple(row) for row in first + second] for first, second in zip(*halves)]
    assert together == _part(tmp_path)
    ids = [row_id for step in together for row_id, _ in step]
    assert len(set(ids)) == len(ids) == STEPS * BATCH
    assert len(list((tmp_path / "rows").iterdir())) == 2 and len(list((tmp_path / "sounds").iterdir())) == 1
