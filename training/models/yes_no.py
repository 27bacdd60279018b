"""What both trainable rerankers are: a frozen checkpoint under LoRA, prompts, and the two answers' rows of its output layer.

    logits = [h . w_yes, h . w_no],   h = norm(last hidden state)

Source: AuroLA equation 10.
"""

from pathlib import Path

import torch
from torch import nn

from ...engine.recipes.rerank import RerankRecipe
from ...engine.rerank.prompts import PairPrompts
from ...engine.text.tokenizer import Tokenizer
from .. import lora
from .backbone import Backbone


class YesNoModel(nn.Module):
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

    def answer(self, last: torch.Tensor) -> torch.Tensor:
        """[..., 2] float32 logits of states [..., W]; by sums and not by a product of matrices, which autocast would round."""
        return (last.float()[..., None, :] * self.answers_2W.to(last.device)).sum(-1)

    def save(self, folder: str | Path) -> None:
        """Write the adapter."""
        lora.save(self.peft, folder, self.recipe.name, {})

    def load(self, folder: str | Path) -> None:
        """Take over a saved adapter, a reranker's or an embedder's of the same LoRA."""
        lora.load(self.peft, folder, {})
        self.after_step()
