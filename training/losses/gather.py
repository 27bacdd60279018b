"""The rows of all processes, so that negatives are the whole batch.

    loss(gathered)  has the same value on every process; its gradient reaches the rows of its own process alone, so the sum
    of the processes' gradients is the gradient of one process that holds all rows

Source: own.
"""

import torch
import torch.distributed as dist


def gather_rows(rows_BD: torch.Tensor) -> torch.Tensor:
    """[B * processes, D] in the order of ranks; the rows themselves where there is one process.

    Args:
        rows_BD: [B, D] of this process; B must be the same on all.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows_BD
    parts = [torch.empty_like(rows_BD) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows_BD.detach().contiguous())
    parts[dist.get_rank()] = rows_BD
    return torch.cat(parts)
