"""What goes into a model: sentences, sounds, both; and how prompts of different length stand in one batch.

Source: own.
Letters: B prompts, L tokens of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...engine.text.template import Prompt


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """A sentence, a sound's features, or both, and perhaps an instruction."""

    text: str | None = None
    features: np.ndarray | None = None
    instruction: str | None = None

    @property
    def key(self) -> tuple[str | None, int | None, str | None]:
        """Equal for inputs that give the same vector."""
        return self.text, None if self.features is None else id(self.features), self.instruction


def pad_right(prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, L], zeros behind the shorter ones, and where audio rows go, bool [B, L]."""
    length = max(len(p) for p in prompts)
    ids_BL = torch.zeros(len(prompts), length, dtype=torch.long)
    is_audio_BL = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids_BL[row, : len(prompt)] = torch.tensor(prompt.token_ids)
        if prompt.audio_span:
            is_audio_BL[row, prompt.audio_span[0] : sum(prompt.audio_span)] = True
    return ids_BL, is_audio_BL


def group_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Numbers of the prompts, near lengths together, at most `max_tokens` padded tokens a group (one prompt may have more)."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    groups: list[list[int]] = []
    for i in order:
        if groups and (len(groups[-1]) + 1) * lengths[i] <= max_tokens:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
