"""Batches by tokens: as many items as fit a budget, neighbours in length together.

Packing leaves nothing to pad, so lengths are sorted only to give attention runs of equal length and to spread the work
evenly; the result of an item does not depend on where it lands.
"""

from collections.abc import Sequence

from ..errors import InputError


def plan_batches(num_tokens: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cut items into batches.

    Args:
        num_tokens: of each item, 1 or more.
        max_tokens: tokens a batch; an item that is longer has a batch of its own.

    Returns: for each batch the positions of its items; every position occurs once, longest items first.

    Raises:
        InputError: max_tokens is not positive.
    """
    if max_tokens < 1:
        raise InputError(f"max_tokens must be at least 1, got {max_tokens}")
    batches: list[list[int]] = []
    room = 0
    for item in sorted(range(len(num_tokens)), key=lambda i: (-num_tokens[i], i)):
        if not batches or num_tokens[item] > room:
            batches.append([])
            room = max_tokens
        batches[-1].append(item)
        room -= num_tokens[item]
    return batches
