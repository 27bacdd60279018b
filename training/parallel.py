"""Several processes as one: torchrun starts them, each takes its part of every batch, gradients are added up.

Every process computes the loss of the whole batch from gathered vectors, and the gradient of its own rows (losses/gather.py);
so gradients of the model add up, and those of parameters inside the loss, which each process has in full, are averaged.

Source: own.
"""

import os
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..errors import InputError

# For what the first process does alone, however long it takes.
_PATIENCE = timedelta(days=30)
_patient: Any = None


@contextmanager
def process_group() -> Any:
    """Join the group that torchrun tells of; nothing where there is none."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    global _patient
    _patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        _patient = None
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    return rank() == 0


def own_part(batch_size: int) -> slice:
    """This process's part of a batch.

    Raises:
        InputError: the batch cannot be divided.
    """
    if batch_size % num_processes():
        raise InputError(f"batch_size is {batch_size}, wanted a multiple of the {num_processes()} processes")
    size = batch_size // num_processes()
    return slice(rank() * size, (rank() + 1) * size)


def add_gradients(of_model: Iterable[torch.nn.Parameter], of_loss: Iterable[torch.nn.Parameter] = ()) -> None:
    """Make every process's gradients those of the whole batch; a parameter without one gets zeros first."""
    if num_processes() == 1:
        return
    for parameters, share in ((of_model, 1.0), (of_loss, 1.0 / num_processes())):
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.mul_(share)
            dist.all_reduce(parameter.grad)


def total(value: float) -> float:
    """The sum of a number over all processes."""
    if num_processes() == 1:
        return value
    summed = torch.tensor(value, dtype=torch.float64)
    if dist.get_backend() == "nccl":
        summed = summed.cuda()
    dist.all_reduce(summed)
    return float(summed)


def wait_for_all() -> None:
    """Go on when every process is here; the first may come hours after the others."""
    if num_processes() > 1:
        dist.barrier(group=_patient)
