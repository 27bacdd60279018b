"""Oracle: hidden states by unmodified transformers, one clip at a time, float32 on the CPU."""

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
