"""Two processes with half the rows each have the value and the gradient of one process with all."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from harken.training.losses import gather_rows

from .pairs import pairs
from .test_contrastive import LOSSES


def _half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    own = slice(3 * rank, 3 * rank + 3)
    found = {}
    for name, loss in LOSSES.items():
        a, t = (x[own].clone().requires_grad_() for x in pairs())
        value = loss(gather_rows(a), gather_rows(t), 0.1)
        value.backward()
        found[name] = (value.detach(), a.grad, t.grad)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("gloo"))
    with pytest.MonkeyPatch.context() as patch:
        # The new processes import this module by its name.
        patch.syspath_prepend(str(Path(__file__).parents[3]))
        multiprocessing.start_processes(_half, (folder,), nprocs=2, start_method="spawn")
    return [torch.load(f"{folder}/{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_sharded_value_and_gradient_are_those_of_one_process(name, halves):
    a, t = (x.requires_grad_() for x in pairs())
    value = LOSSES[name](a, t, 0.1)
    value.backward()
    for half in halves:
        torch.testing.assert_close(half[name][0], value.detach())
    for place, whole in ((1, a.grad), (2, t.grad)):
        torch.testing.assert_close(torch.cat([half[name][place] for half in halves]), whole)


def test_one_process_gets_its_rows_back():
    rows = torch.ones(2, 3)
    assert gather_rows(rows) is rows
