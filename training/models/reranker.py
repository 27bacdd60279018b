"""A causal multimodal LLM as a Yes/No reranker that can be trained; pairs that share a prefix run it once.

    logits = [h . w_yes, h . w_no],     h = norm(last hidden state of the prompt)

A sound's candidates stand behind one another after their common prefix. Each sees the prefix and itself, at the positions that
it has alone, so that the logits are those of the pair alone.

Source: AuroLA equation 10; prompts as the engine's rerank recipe says; the layout is own.
Letters: B prefixes, L tokens of the longest line, W width, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...engine.recipes.rerank import RerankRecipe
from ...engine.rerank.prompts import Direction, PairPrompts, SplitPrompt
from ...engine.text.tokenizer import Tokenizer
from ...errors import ModelError
from .. import lora
from .backbone import Backbone
from .prompts import group_by_length


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


class TrainableReranker(nn.Module):
    """The model and its LoRA layers.

    Args:
        backbone: the frozen checkpoint.
        recipe: prompts and answers.
        settings: of LoRA.
        seed: of everything that is drawn here.
        max_tokens: padded tokens of one pass through the decoder.
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
        super().__init__()
        if recipe.joint_from:
            raise ModelError(
                f"recipe {recipe.name}: its parts meet in the upper layers; the stage 'joint-rerank' trains it"
            )
        torch.manual_seed(seed)
        self.backbone, self.recipe, self.max_tokens = backbone, recipe, max_tokens
        tokenizer = Tokenizer(backbone.folder)
        self.answers_2W = backbone.answer_rows([tokenizer.encode(word).ids[0] for word in (recipe.yes, recipe.no)])
        self.peft = lora.attach(backbone, settings)
        self._prompts = PairPrompts(tokenizer, recipe, backbone.audio_token_id)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def after_step(self) -> None:
        """To be called when parameters have changed."""
        lora.merge(self)

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
        last_PW = hidden_BLW[[b for b, _ in ends], [i for _, i in ends]].float()
        return last_PW @ self.answers_2W.to(last_PW.device).T

    def save(self, folder: str | Path) -> None:
        """Write the adapter."""
        lora.save(self.peft, folder, self.recipe.name, {})

    def load(self, folder: str | Path) -> None:
        """Take over a saved adapter, a reranker's or an embedder's of the same LoRA."""
        lora.load(self.peft, folder, {})
        self.after_step()
