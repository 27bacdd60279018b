"""The model as transformers and peft run it, on padded batches: what the other trainers are given.

The collator reads each sound, makes its log-mel and pads prompts on the right; the module runs tower, projector and decoder
of transformers' class and takes the mean over each prompt's pooled tokens. It spares itself the language head, which a call
of the whole class would run. Log-mel is as long as the window where the tower wants that (Qwen2-Audio: 30 s), else as the
longest sound of the batch; transformers' own processor of Qwen2.5-Omni would pad to 300 s.

Source: the usage of the classes; how much padding leaves log-mel as it is: spec/peers.md 0.1.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import InputError
from ...training.data import Row
from ...training.data.sounds import load_sound
from ...training.models.embedder import TrainableEmbedder
from ...training.models.omni import OmniBackbone
from ...training.models.prompts import Input, pad_right
from ...training.models.qwen2_audio import NUM_AHEAD, Qwen2AudioBackbone

HOP = 160


@contextmanager
def as_published(model: nn.Module) -> Iterator[None]:
    """Within, LoRA layers run as peft runs them and norms as transformers does."""
    taken = [(module, vars(module).pop("forward")) for module in model.modules() if "forward" in vars(module)]
    try:
        yield
    finally:
        for module, forward in taken:
            module.forward = forward


class Collator:
    """A column of a batch, all sentences or all paths of sounds, as padded tensors with one row for each.

    Args:
        embedder: its prompts and pooling.
        rows: the sounds by their path.
    """

    def __init__(self, embedder: TrainableEmbedder, rows: Mapping[str, Row]) -> None:
        from transformers import WhisperFeatureExtractor

        backbone = embedder.backbone
        if not isinstance(backbone, Qwen2AudioBackbone | OmniBackbone):
            raise InputError(f"{backbone.folder}: the other trainers are written for Qwen2-Audio and Qwen2.5-Omni")
        self._embedder, self._rows = embedder, rows
        self._tower = backbone.model.model.audio_tower
        self._fills_window = isinstance(backbone, Qwen2AudioBackbone)
        # Features that stand for a sound in `prompt`: its frames, and those that the backbone has behind it.
        self._num_ahead = NUM_AHEAD if self._fills_window else 0
        self._extractor = WhisperFeatureExtractor.from_pretrained(str(backbone.folder))

    def __call__(self, column: Sequence[str]) -> dict[str, torch.Tensor]:
        heard: dict[str, torch.Tensor] = {}
        inputs = [Input(text=text) for text in column]
        if column[0] in self._rows:
            heard, nums = self._log_mel([load_sound(self._rows[path], 16000).samples for path in column])
            inputs = [Input(features=np.empty((num, 1), np.float16)) for num in nums]
        prompts = [self._embedder.prompt(one) for one in inputs]
        ids, _ = pad_right(prompts)
        mask, share = torch.zeros(ids.shape, dtype=torch.long), torch.zeros(ids.shape)
        for row, prompt in enumerate(prompts):
            first, last = self._embedder.pooled_span(prompt)
            mask[row, : len(prompt)] = 1
            share[row, first:last] = 1 / (last - first)
        return {"input_ids": ids, "attention_mask": mask, "share": share, **heard}

    def _log_mel(self, waves: list[np.ndarray]) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Features and their mask, and for each sound what `prompt` asks: frames where the tower is trained, else tokens."""
        longest = max(map(len, waves))
        # The last frames reach beyond the sound's end; a hop of silence keeps them as in a longer window.
        more = {} if self._fills_window else {"max_length": (longest // HOP + 2) * HOP}
        made = self._extractor(
            waves, sampling_rate=16000, padding="max_length", return_attention_mask=True, return_tensors="pt", **more
        )
        frames = made["attention_mask"].sum(1)
        _, tokens = self._tower._get_feat_extract_output_lengths(frames)
        nums = frames + self._num_ahead if self._embedder.backbone.trains_tower else tokens
        found = {"input_features": made["input_features"], "feature_attention_mask": made["attention_mask"]}
        return found, nums.tolist()


class PaddedModel(nn.Module):
    """[B, D] unit vectors of one column's tensors."""

    def __init__(self, embedder: TrainableEmbedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, features: dict[str, Any]) -> torch.Tensor:
        given = {name: features[name] for name in ("input_ids", "attention_mask")}
        has_sound = "input_features" in features
        if has_sound:
            inner = self.embedder.backbone.model.model
            given["input_features"] = features["input_features"].to(inner.audio_tower.dtype)
            given["feature_attention_mask"] = features["feature_attention_mask"]
        states = self.embedder.backbone.model.model(**given, use_cache=False).last_hidden_state
        pooled = torch.einsum("bl,blw->bw", features["share"], states.float())
        kind = Input(features=np.empty((0, 1))) if has_sound else Input(text="")
        return self.embedder.vectors([kind], pooled)
