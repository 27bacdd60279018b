"""A causal multimodal LLM as a Yes/No reranker that can be trained; pairs that share a prefix run it once.

    logits = [h . w_yes, h . w_no],     h = norm(last hidden state of the prompt)

A sound's candidates stand behind one another after their common prefix. Each sees the prefix and itself, at the positions that
it has alone, so that the logits are those of the pair alone.

Source: AuroLA equation 10; prompts as the engine's rerank recipe says; the layout is own.
Letters: B prefixes, L tokens of the longest line, W width, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...engine.recipes.rerank import RerankRecipe
from ...engine.rerank.prompts import Direction, SplitPrompt
from ...errors import ModelError
from .. import lora
from .backbone import Backbone
from .prompts import group_by_length
from .yes_no import YesNoModel


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """A sound's features and a text."""

    features: np.ndarray
    text: str
    # Which of the two asks.
    direction: Direction = "a2t"


@dataclass(frozen=True, slots=True)
class _Line:
    """One prefix and what follows it: numbers of the pairs and their prompts."""

    places: list[int]
    prompts: list[SplitPrompt]

    def __len__(self) -> int:
        return len(self.prompts[0].prefix) + sum(len(p.suffix) for p in self.prompts)


class TrainableReranker(YesNoModel):
    """A reranker whose pairs run through all layers.

    Args: those of YesNoModel.

    Raises:
        ModelError: the recipe's parts meet in the upper layers alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        recipe: RerankRecipe,
        settings: lora.LoraSettings,
        *,
        seed: int = 0,
        max_tokens: int = 2048,
    ) -> None:
        if recipe.joint_from:
            raise ModelError(
                f"recipe {recipe.name}: its parts meet in the upper layers; the stage 'joint-rerank' trains it"
            )
        super().__init__(backbone, recipe, settings, seed=seed, max_tokens=max_tokens)

    def forward(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """[P, 2] float32 logits of Yes and No."""
        lines = self._lines(pairs)
        places: list[int] = []
        parts: list[torch.Tensor] = []
        for group in group_by_length([len(line) for line in lines], self.max_tokens):
            chosen = [lines[i] for i in group]
            parts.append(self._group(chosen, pairs))
            places += [place for line in chosen for place in line.places]
        order = torch.empty(len(places), dtype=torch.long)
        order[torch.tensor(places)] = torch.arange(len(places))
        return torch.cat(parts)[order.to(parts[0].device)]

    def _lines(self, pairs: Sequence[Pair]) -> list[_Line]:
        lines: dict[tuple[bytes, int | None], _Line] = {}
        for place, pair in enumerate(pairs):
            prompt = self._prompts.split(pair.direction, pair.text, self.backbone.num_tokens(pair.features))
            ids = np.asarray(prompt.prefix.token_ids, np.int32).tobytes()
            key = ids, id(pair.features) if prompt.prefix.audio_span is not None else None
            line = lines.setdefault(key, _Line([], []))
            line.places.append(place)
            line.prompts.append(prompt)
        return list(lines.values())

    def _group(self, lines: Sequence[_Line], pairs: Sequence[Pair]) -> torch.Tensor:
        """[pairs of the lines, 2] logits, line after line."""
        shape = len(lines), max(len(line) for line in lines)
        ids_BL, positions_BL = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        is_audio_BL = torch.zeros(shape, dtype=torch.bool)
        mask_BLL = torch.eye(shape[1], dtype=torch.bool).repeat(shape[0], 1, 1)
        rows, ends = [], []
        for b, line in enumerate(lines):
            prefix = line.prompts[0].prefix
            parts = [(prefix, line.places[0]), *((p.suffix, i) for p, i in zip(line.prompts, line.places))]
            start, shared = 0, len(prefix)
            for number, (part, place) in enumerate(parts):
                stop = start + len(part)
                ids_BL[b, start:stop] = torch.tensor(part.token_ids)
                first = 0 if number == 0 else shared
                positions_BL[b, start:stop] = torch.arange(first, first + len(part))
                mask_BLL[b, start:stop, :first] = True
                mask_BLL[b, start:stop, start:stop] = torch.ones(len(part), len(part), dtype=torch.bool).tril()
                if part.audio_span is not None:
                    is_audio_BL[b, start + part.audio_span[0] : start + sum(part.audio_span)] = True
                    rows.append(pairs[place].features)
                if number:
                    ends.append((b, stop - 1))
                start = stop
        hidden_BLW = self.backbone.hidden(
            ids_BL, is_audio_BL, self.backbone.audio_rows(rows), mask_BLL=mask_BLL, positions_BL=positions_BL
        )
        return self.answer(hidden_BLW[[b for b, _ in ends], [i for _, i in ends]])
