"""Oracle: hidden states by unmodified transformers, one clip at a time, float32 on the CPU."""

import json
from pathlib import Path

import numpy as np
import torch


class Qwen2AudioOracle:
    """`Qwen2AudioForConditionalGeneration` on a checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.audio_token = self.tokenizer.convert_ids_to_tokens(self.model.config.audio_token_id)

    @torch.no_grad()
    def hidden(self, prompt: str, clips: list[np.ndarray] = ()) -> torch.Tensor:
        """[tokens, width] last hidden states; each {audio} of the prompt is one clip."""
        features = {}
        for clip in clips:
            frames = min(-(-len(clip) // 160), 3000)
            count = ((frames - 1) // 2 + 1 - 2) // 2 + 1
            prompt = prompt.replace("{audio}", self.audio_token * count, 1)
        if clips:
            got = self.extractor(list(clips), sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
            features = {"input_features": got["input_features"], "feature_attention_mask": got["attention_mask"]}
        ids = torch.tensor([self.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        out = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), **features, output_hidden_states=True, use_cache=False
        )
        return out.hidden_states[-1][0]


class OmniOracle:
    """`Qwen2_5OmniThinkerForConditionalGeneration` on a checkpoint folder of any layout.

    Args:
        folder: of `tiny.omni`.
        causal: False gives every decoder layer the mask of a decoder that looks both ways.
        dtype: of weights and arithmetic.
    """

    def __init__(self, folder: Path, *, causal: bool = True, dtype: torch.dtype = torch.float32) -> None:
        from transformers import (
            PreTrainedTokenizerFast,
            Qwen2_5OmniThinkerConfig,
            Qwen2_5OmniThinkerForConditionalGeneration,
            WhisperFeatureExtractor,
        )

        values = json.loads((folder / "config.json").read_text())
        values = {**values.get("thinker_config", values), "model_type": "qwen2_5_omni_thinker"}
        self.model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            folder, config=Qwen2_5OmniThinkerConfig.from_dict(values), dtype=dtype
        ).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.audio_token = self.tokenizer.convert_ids_to_tokens(values["audio_token_index"])
        if not causal:
            self._look_both_ways()

    def _look_both_ways(self) -> None:
        """Give the decoder an explicit mask of ones; what it would make of a missing one depends on transformers' version."""
        decoder = self.model.model.language_model
        forward = decoder.forward

        def unmasked(*args, attention_mask=None, inputs_embeds=None, **kwargs):
            length = inputs_embeds.shape[1]
            mask = {"full_attention": torch.zeros(1, 1, length, length, dtype=inputs_embeds.dtype)}
            return forward(*args, attention_mask=mask, inputs_embeds=inputs_embeds, **kwargs)

        decoder.forward = unmasked

    @torch.no_grad()
    def hidden(self, prompt: str, clips: list[np.ndarray] = (), *, max_samples: int | None = None) -> torch.Tensor:
        """[tokens, width] last hidden states; each {audio} of the prompt is one clip, cut and padded to max_samples."""
        features = {}
        if clips:
            got = self.extractor(
                list(clips),
                sampling_rate=16000,
                max_length=max_samples,
                return_attention_mask=True,
                return_tensors="pt",
            )
            mask = got["attention_mask"]
            for frames in mask.sum(1).tolist():
                prompt = prompt.replace("{audio}", self.audio_token * (((frames - 1) // 2 + 1 - 2) // 2 + 1), 1)
            features = {
                "input_features": got["input_features"].to(self.model.dtype),
                "feature_attention_mask": mask.to(torch.bool),
            }
        ids = torch.tensor([self.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        out = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), **features, output_hidden_states=True, use_cache=False
        )
        return out.hidden_states[-1][0]
