"""More of what transformers offers, made from a TransformersPath: sentences, and a compiled model.

Source: own.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import InputError
from .rivals import TransformersPath


class _TextPath(TransformersPath):
    """The same model over sentences."""

    def inputs(self, clips: Any, own_length: bool) -> dict[str, torch.Tensor]:
        """Tokens of the sentences in the recipe's prompt, and their mask; `own_length` says nothing of sentences."""
        template = self.recipe.text_template or ""
        filled = template.replace("{instruction}", self.recipe.default_text_instruction)
        prompts = [filled.replace("{text}", text) for text in clips]
        tokens = self.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        return {name: tokens[name] for name in ("input_ids", "attention_mask")}


def text_path(path: TransformersPath) -> TransformersPath:
    """`path` with sentences in the place of clips.

    Raises:
        InputError: the recipe takes no text.
    """
    if path.recipe.text_template is None:
        raise InputError(f"recipe {path.recipe.name} takes no text")
    made = copy.copy(path)
    made.__class__ = _TextPath
    made.head = path.embedder.text_head
    return made


class CompiledPath:
    """A path's model without its language head, through torch.compile.

    Args:
        path: of transformers; its model is shared, and keeps its head between calls.
    """

    def __init__(self, path: TransformersPath) -> None:
        self._path = copy.copy(path)
        # One identity for good: another module in that place would be another graph.
        self._path.model = _Headless(path.model, nn.Identity())

    def encode(self, items: Sequence[Any], *, own_length: bool) -> np.ndarray:
        """[n, d] vectors of one batch; `own_length` as a TransformersPath has it."""
        return self._path.encode(list(items), head=False, own_length=own_length)


class _Headless:
    """In the place of a model whose `lm_head` is taken out and put back around every call."""

    def __init__(self, model: Any, no_head: nn.Module) -> None:
        self.lm_head, self._model, self._no_head = model.lm_head, model, no_head
        self._compiled = torch.compile(model, dynamic=True)
        self.device, self.dtype = model.device, model.dtype

    def __call__(self, **inputs: Any) -> Any:
        kept, self._model.lm_head = self._model.lm_head, self._no_head
        try:
            return self._compiled(**inputs)
        finally:
            self._model.lm_head = kept
