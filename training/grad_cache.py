"""The gradient of one large contrastive batch, in one pass or in two that keep little memory.

    two passes   1. vectors of all inputs, nothing kept;  loss;  g_i = d loss / d vector_i
                 2. per group of inputs: vectors again, with their graph;  backward(g of the group)

Both give the same gradient: the negatives are the batch, not the group. Dropout draws the same in both passes.

Source: GradCache, Gao et al. 2021 (arXiv 2101.06983); own code.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import torch

from .draw import DROPOUT, seed_torch
from .losses import gather_rows

# Loss of the gathered vectors of both sides.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Encoder(Protocol):
    """What a model must offer: inputs into groups that fit into memory, and a group's vectors."""

    def groups(self, inputs: Sequence[Any]) -> list[list[int]]: ...

    def __call__(self, inputs: Sequence[Any]) -> torch.Tensor: ...


def backward(
    encoder: Encoder, left: Sequence[Any], right: Sequence[Any], loss: Loss, *, two_passes: bool, seed: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add the loss's gradient to the parameters.

    Args:
        encoder: makes vectors of inputs; inputs with an equal `key` are run once.
        left, right: this process's inputs; pair i is row i of both.
        loss: of all processes' vectors.
        two_passes: save memory for a second forward pass.
        seed: of dropout, first the run's, then what tells this step and process apart.

    Returns: the loss and the vectors of both sides, detached.
    """
    sides = [
        _Side(encoder, inputs, [seed[0], DROPOUT, *seed[1:], number]) for number, inputs in enumerate((left, right))
    ]
    vectors = [side.vectors(with_graph=not two_passes) for side in sides]
    value = loss(*(gather_rows(side.in_order(v)) for side, v in zip(sides, vectors)))
    value.backward()
    if two_passes:
        for side, leaf in zip(sides, vectors):
            assert leaf.grad is not None
            side.backward(leaf.grad)
    found = [side.in_order(v).detach() for side, v in zip(sides, vectors)]
    return value.detach(), found[0], found[1]


class _Side:
    """One side's different inputs, in groups."""

    def __init__(self, encoder: Encoder, inputs: Sequence[Any], seed: list[int]) -> None:
        places: dict[Hashable, int] = {}
        self._inputs = []
        self._order = []
        for one in inputs:
            if one.key not in places:
                places[one.key] = len(places)
                self._inputs.append(one)
            self._order.append(places[one.key])
        self._encoder, self._seed = encoder, seed
        self._groups = encoder.groups(self._inputs)

    def vectors(self, *, with_graph: bool) -> torch.Tensor:
        """[different inputs, D] in the order of the groups; a leaf that gathers its gradient where no graph is kept."""
        with torch.set_grad_enabled(with_graph):
            vectors = torch.cat([self._run(number) for number in range(len(self._groups))])
        return vectors if with_graph else vectors.requires_grad_()

    def backward(self, gradient: torch.Tensor) -> None:
        start = 0
        for number, group in enumerate(self._groups):
            self._run(number).backward(gradient[start : start + len(group)])
            start += len(group)

    def in_order(self, vectors: torch.Tensor) -> torch.Tensor:
        """[B, D] rows as the inputs were given."""
        row_of = {place: row for row, place in enumerate(place for group in self._groups for place in group)}
        return vectors[torch.tensor([row_of[place] for place in self._order], device=vectors.device)]

    def _run(self, number: int) -> torch.Tensor:
        seed_torch(*self._seed, number)
        return self._encoder([self._inputs[i] for i in self._groups[number]])
