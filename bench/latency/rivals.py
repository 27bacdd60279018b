"""What a user would run instead: transformers on the same checkpoint, prompts, pooling and heads.

Source: the usage of Qwen2AudioForConditionalGeneration; tensors are taken from the loaded Embedder, adapter merged.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...engine.embedder import Embedder


class Qwen2AudioPath:
    """`Qwen2AudioForConditionalGeneration` with the Embedder's recipe (mean pooling and head) around it."""

    def __init__(self, embedder: Embedder) -> None:
        from transformers import AutoTokenizer, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

        folder = embedder.folder
        self.recipe, self.head = embedder.recipe, embedder.audio_head
        if self.recipe.pooling != "mean" or self.recipe.audio_template is None:
            raise SystemExit(
                f"the transformers path is written for mean pooling, recipe {self.recipe.name} pools otherwise"
            )
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        if embedder.adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, embedder.adapter).merge_and_unload().float()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.audio_token = self.tokenizer.convert_ids_to_tokens(self.model.config.audio_token_id)

    @staticmethod
    def versions() -> dict[str, str]:
        import transformers

        return {"transformers": transformers.__version__}

    @torch.no_grad()
    def encode(self, clips: list[np.ndarray], *, head: bool) -> np.ndarray:
        """[n, d] vectors; `head` runs the language head on every position, as the published wrappers do."""
        mel = self.extractor(clips, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
        prompts = [self._prompt(len(clip)) for clip in clips]
        tokens = self.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        inputs: dict[str, Any] = {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "input_features": mel["input_features"],
            "feature_attention_mask": mel["attention_mask"],
            "use_cache": False,
        }
        if head:
            hidden = self.model(**inputs, output_hidden_states=True).hidden_states[-1]
        else:
            hidden = self.model.model(**inputs).last_hidden_state
        mask = tokens["attention_mask"][..., None].float()
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        if self.head is not None:
            pooled = self.head(F.normalize(pooled, dim=-1) if self.recipe.normalize_before_head else pooled)
        return F.normalize(pooled, dim=-1).numpy()

    def _prompt(self, num_samples: int) -> str:
        positions = (min(-(-num_samples // 160), 3000) - 1) // 2 + 1
        assert self.recipe.audio_template is not None
        filled = self.recipe.audio_template.replace("{instruction}", self.recipe.default_audio_instruction)
        return filled.replace("{audio}", self.audio_token * ((positions - 2) // 2 + 1))
