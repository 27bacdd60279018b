"""Vectors of sentences from any BERT-like checkpoint: the state of [CLS], or the mean of all tokens', unit length.

Source: BGE (state of [CLS], 512 tokens); sentence-transformers' mean pooling.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..errors import BackendError, InputError, ModelError

Pooling = Literal["cls", "mean"]


class SentenceEncoder:
    """An encoder of sentences.

    Args:
        folder: checkpoint in Hugging Face layout.
        pooling: "cls" as BGE wants it, or "mean".
        device: "cpu", "cuda", "cuda:1".
        batch_size: sentences run together; those of like length are.
        max_tokens: what goes beyond is cut.

    Raises:
        BackendError: transformers is not installed.
        ModelError: the folder holds no such model.
        InputError: pooling is of no known kind.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pooling: Pooling = "cls",
        device: str = "cpu",
        batch_size: int = 64,
        max_tokens: int = 512,
    ) -> None:
        if pooling not in get_args(Pooling):
            raise InputError(f"pooling is {pooling!r}; wanted one of {get_args(Pooling)}")
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise BackendError("a sentence encoder wants transformers; pip install 'harken[train]'") from None
        if not (Path(folder) / "config.json").is_file():
            raise ModelError(f"{folder}: holds no config.json; wanted a checkpoint folder in Hugging Face layout")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder).float().to(device).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: cannot be loaded: {error}") from None
        self._pooling, self._batch_size, self._max_tokens = pooling, batch_size, max_tokens

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [n, d] float32 of sentences, in their order."""
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.zeros((len(texts), int(self._model.config.hidden_size)), np.float32)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            inputs = self._tokenizer(
                [texts[i] for i in batch],
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self._model.device)
            with torch.inference_mode():
                states_BTD = self._model(**inputs).last_hidden_state
            if self._pooling == "cls":
                pooled_BD = states_BTD[:, 0]
            else:
                mask_BT1 = inputs["attention_mask"][:, :, None].to(states_BTD.dtype)
                pooled_BD = (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
            vectors[batch] = torch.nn.functional.normalize(pooled_BD, dim=1).cpu().numpy()
        return vectors
