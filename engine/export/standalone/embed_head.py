"""From hidden states after the final norm to vectors: pooling, head and unit length, in float32.

Reads embed_head.safetensors beside it. Where sounds and sentences have heads of their own, a row of the result is the
vector of a sound and then that of a sentence, made of the same states: take the half that the input calls for.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open

FOLDER = Path(__file__).resolve().parent
FILE = "embed_head.safetensors"


class EmbedHead:
    """Pooling and heads of one export.

    Args:
        folder: holds embed_head.safetensors.
        device: where hidden states will be.
    """

    def __init__(self, folder: Path = FOLDER, device: "torch.device | str" = "cpu") -> None:
        with safe_open(folder / FILE, framework="pt", device=str(device)) as file:
            self.settings = json.loads(file.metadata()["settings"])
            self._tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        self.kinds: list[str] = self.settings["kinds"]

    def __call__(
        self, hidden: torch.Tensor, lengths: "list[int]", contents: "list[tuple[int, int]] | None" = None
    ) -> torch.Tensor:
        """Vectors of packed states.

        Args:
            hidden: [N, H] after the final norm, the sequences end to end.
            lengths: of the B sequences.
            contents: rows that are pooled of each, as (first, past the last); for pooling "mean-content" alone.

        Returns: [B, d], or [B, 2 d] where there are two heads; float32.
        """
        pooled = torch.stack(
            [
                self._pooled(rows.float(), None if contents is None else contents[i])
                for i, rows in enumerate(hidden.split(list(lengths)))
            ]
        )
        return torch.cat([self._headed(pooled, kind) for kind in self.kinds], 1)

    def of_kind(self, vectors: torch.Tensor, kind: str) -> torch.Tensor:
        """The part of rows that is the vector of a "text" or an "audio"."""
        width = vectors.shape[1] // len(self.kinds)
        at = self.kinds.index(kind) if kind in self.kinds else 0
        return vectors[:, at * width : (at + 1) * width]

    def _pooled(self, rows: torch.Tensor, content: "tuple[int, int] | None") -> torch.Tensor:
        pooling = self.settings["pooling"]
        if pooling == "last":
            return rows[-1]
        if pooling == "mean-content":
            if content is None:
                raise ValueError("pooling 'mean-content' needs the rows of each sequence's content")
            rows = rows[content[0] : content[1]]
        return rows.mean(0)

    def _headed(self, pooled: torch.Tensor, kind: str) -> torch.Tensor:
        weight = self._tensors.get(f"{kind}.linear.weight")
        if weight is not None:
            if self.settings["normalize_before_head"]:
                pooled = F.normalize(pooled, dim=-1)
            pooled = F.linear(pooled, weight, self._tensors.get(f"{kind}.linear.bias"))
            norm = self._tensors.get(f"{kind}.norm.weight")
            if norm is not None:
                bias = self._tensors[f"{kind}.norm.bias"]
                pooled = F.layer_norm(pooled, norm.shape, norm, bias, self.settings["eps"])
        return F.normalize(pooled, dim=-1) if self.settings["normalize"] else pooled
