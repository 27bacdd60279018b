"""What a user would run instead: transformers on the same weights, prompts, pooling and heads.

Source: the usage of Qwen2AudioForConditionalGeneration and Qwen2_5OmniThinkerForConditionalGeneration.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...engine.embedder import Embedder

# Samples past a clip's end that its features see; with them, features of its own length equal those of the padded clip.
_PAST_END = 320


class TransformersPath:
    """A model of transformers with an Embedder's recipe around it.

    Args:
        embedder: gives recipe, head, and how many audio tokens a clip has.
        model: the full class, on its device, with the weights of the embedder.
    """

    def __init__(self, embedder: Embedder, model: Any) -> None:
        from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

        self.embedder, self.model = embedder, model.eval()
        self.recipe, self.head = embedder.recipe, embedder.audio_head
        if self.recipe.pooling not in ("mean", "last") or self.recipe.attention != "causal":
            raise SystemExit(
                f"the transformers path pools the mean or the last state of a causal model, recipe {self.recipe.name} not"
            )
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(embedder.folder, padding_side="right")
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.extractor = WhisperFeatureExtractor.from_pretrained(embedder.folder)
        self.audio_token = self.tokenizer.convert_ids_to_tokens(embedder.model.audio_token_id)

    @staticmethod
    def versions() -> dict[str, str]:
        import transformers

        return {"transformers": transformers.__version__}

    def encode(self, clips: list[np.ndarray], *, head: bool, own_length: bool = False) -> np.ndarray:
        """[n, d] vectors.

        Args:
            head: run the language head on every position and keep keys and values, as the published wrappers do.
            own_length: features as long as the longest clip, not as the front end's window; not every model takes them.
        """
        return self.forward(self.inputs(clips, own_length), head=head)

    @torch.no_grad()
    def forward(self, inputs: dict[str, torch.Tensor], *, head: bool) -> np.ndarray:
        """[n, d] vectors of what `inputs` made; `head` as in `encode`."""
        inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        if head:
            hidden = self.model(**inputs, output_hidden_states=True).hidden_states[-1]
        else:
            with self._headless():
                hidden = self.model(**inputs, use_cache=False).logits
        mask = inputs["attention_mask"]
        if self.recipe.pooling == "last":
            pooled = hidden[torch.arange(len(mask)), mask.sum(1) - 1].float()
        else:
            pooled = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        if self.head is not None:
            pooled = self.head(F.normalize(pooled, dim=-1) if self.recipe.normalize_before_head else pooled)
        return F.normalize(pooled, dim=-1).cpu().numpy()

    def inputs(self, clips: list[np.ndarray], own_length: bool) -> dict[str, torch.Tensor]:
        """What the model takes, on the CPU: features, their mask, tokens and theirs."""
        longest = -(-max(len(clip) for clip in clips) // 160) * 160 + _PAST_END
        length = {"padding": "max_length", "max_length": longest} if own_length else {}
        mel = self.extractor(clips, sampling_rate=16000, return_attention_mask=True, return_tensors="pt", **length)
        prompts = [self._prompt(len(clip)) for clip in clips]
        tokens = self.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
        return {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            "input_features": mel["input_features"].to(self.model.dtype),
            "feature_attention_mask": mel["attention_mask"].bool(),
        }

    @contextmanager
    def _headless(self) -> Iterator[None]:
        """The language head gives its input back, so that `logits` are the hidden states."""
        kept, self.model.lm_head = self.model.lm_head, nn.Identity()
        try:
            yield
        finally:
            self.model.lm_head = kept

    def _prompt(self, num_samples: int) -> str:
        assert self.recipe.audio_template is not None
        filled = self.recipe.audio_template.replace("{instruction}", self.recipe.default_audio_instruction)
        return filled.replace("{audio}", self.audio_token * self.embedder.model.tower.num_tokens(num_samples))


class Qwen2AudioPath(TransformersPath):
    """`Qwen2AudioForConditionalGeneration` read from the checkpoint of an Embedder, its adapter merged by peft."""

    def __init__(self, embedder: Embedder) -> None:
        from transformers import Qwen2AudioForConditionalGeneration

        model = Qwen2AudioForConditionalGeneration.from_pretrained(embedder.folder, dtype=torch.float32).eval()
        if embedder.adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, embedder.adapter).merge_and_unload().float()
        super().__init__(embedder, model)
