"""One computation as a plain torch module with names and dynamic lengths, for exporters.

Source: own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class Graph:
    """What an exporter needs to know.

    Args:
        name: of the file.
        module: called with the inputs in their order; gives one tensor, or a tuple.
        inputs: name -> an example; lengths that vary are 2 or more in it and differ from one another.
        lengths: name of an input -> dimension -> the name of its length; those not named are fixed.
        ranges: name of a length -> (smallest, usual, largest), for compilers that want to know.
        outputs: names.
        multiples: name of a length -> what it is always a multiple of.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, torch.Tensor]
    lengths: Mapping[str, Mapping[int, str]]
    ranges: Mapping[str, tuple[int, int, int]]
    outputs: tuple[str, ...]
    multiples: Mapping[str, int] = field(default_factory=dict)

    def dynamic_shapes(self) -> tuple[dict[int, torch.export.Dim] | None, ...]:
        """The lengths as torch.export wants them, an entry for each input."""
        dims = {}
        for name, (low, _, high) in self.ranges.items():
            step = self.multiples.get(name, 1)
            counted = torch.export.Dim(
                name if step == 1 else f"{name}_by_{step}", min=-(-low // step), max=high // step
            )
            dims[name] = counted if step == 1 else step * counted
        return tuple(
            {dim: dims[name] for dim, name in self.lengths[key].items()} if key in self.lengths else None
            for key in self.inputs
        )

    def shapes(self, which: int) -> dict[str, tuple[int, ...]]:
        """The shape of each input at the smallest (0), usual (1) or largest (2) lengths."""
        found = {}
        for key, tensor in self.inputs.items():
            named = self.lengths.get(key, {})
            found[key] = tuple(
                self.ranges[named[d]][which] if d in named else size for d, size in enumerate(tensor.shape)
            )
        return found

    def facts(self) -> dict[str, object]:
        """What a manifest says of the graph."""
        return {
            "inputs": {
                key: {
                    "dtype": str(tensor.dtype).removeprefix("torch."),
                    "shape": [self.lengths.get(key, {}).get(d, size) for d, size in enumerate(tensor.shape)],
                }
                for key, tensor in self.inputs.items()
            },
            "lengths": {name: list(bounds) for name, bounds in self.ranges.items()},
            "multiples": dict(self.multiples),
            "outputs": list(self.outputs),
        }


def attend(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention over a padded batch; grouped heads are repeated, which every exporter understands.

    Args:
        q_BTHD: [B, T, H, D].
        k_BTGD, v_BTGD: [B, T, G, D], H a multiple of G.
        mask: bool, broadcast to [B, H, T, T], True where a row sees another.
        scale: factor on q . k.

    Returns: [B, T, H * D].
    """
    repeats = q_BTHD.shape[2] // k_BTGD.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
    if repeats > 1:
        k, v = (x.repeat_interleave(repeats, 1) for x in (k, v))
    out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2).flatten(2)
