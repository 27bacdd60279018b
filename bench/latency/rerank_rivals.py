"""What a user would run instead of the reranker: transformers, a forward over every pair's whole prompt.

Source: the usage of Qwen2AudioForConditionalGeneration; AuroLA's evaluation as spec/recipes.md C.6 and H tell it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.rerank.prompts import Direction
from ...engine.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True)
class Tokens:
    """Rows computed, padding included: through the decoder, and out of the audio tower."""

    decoder: int
    audio: int


class Qwen2AudioPairs:
    """`Qwen2AudioForConditionalGeneration` with a Reranker's prompts."""

    def __init__(self, reranker: Reranker, folder: str | Path) -> None:
        from transformers import AutoTokenizer, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

        ours = reranker.model
        self.recipe = reranker.recipe
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=ours.dtype).eval().to(ours.device)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.audio_token = self.tokenizer.convert_ids_to_tokens(self.model.config.audio_token_id)
        words = (self.recipe.yes, self.recipe.no)
        self.answers = [self.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]

    @staticmethod
    def versions() -> dict[str, str]:
        import transformers

        return {"transformers": transformers.__version__}

    @torch.no_grad()
    def score(
        self, direction: Direction, pairs: list[tuple[np.ndarray, str]], batch: int, *, whole_head: bool
    ) -> tuple[np.ndarray, Tokens]:
        """P(Yes) of (samples, text) pairs; `whole_head` runs the language head on every position."""
        scores, decoder, audio = [], 0, 0
        for first in range(0, len(pairs), batch):
            inputs = self._inputs(direction, pairs[first : first + batch])
            decoder += inputs["input_ids"].numel()
            # The tower makes 750 rows of the 30 s that every clip is padded to.
            audio += 750 * len(inputs["input_ids"])
            if whole_head:
                logits = self.model(**inputs, use_cache=False).logits[:, -1]
            else:
                logits = self.model.lm_head(self.model.model(**inputs, use_cache=False).last_hidden_state[:, -1])
            scores += torch.softmax(logits[:, self.answers].float(), -1)[:, 0].tolist()
        return np.array(scores, np.float32), Tokens(decoder, audio)

    def _inputs(self, direction: Direction, pairs: list[tuple[np.ndarray, str]]) -> dict[str, Any]:
        mel = self.extractor(
            [c for c, _ in pairs], sampling_rate=16000, return_attention_mask=True, return_tensors="pt"
        )
        prompts = [self._prompt(direction, len(clip), text) for clip, text in pairs]
        tokens = self.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        inputs = {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "input_features": mel["input_features"].to(self.model.dtype),
            "feature_attention_mask": mel["attention_mask"],
        }
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}

    def _prompt(self, direction: Direction, num_samples: int, text: str) -> str:
        positions = (min(-(-num_samples // 160), 3000) - 1) // 2 + 1
        filled = self.recipe.template(direction).replace("{instruction}", self.recipe.instruction)
        return filled.replace("{audio}", self.audio_token * ((positions - 2) // 2 + 1)).replace("{text}", text)
