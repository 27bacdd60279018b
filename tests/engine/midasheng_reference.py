"""MiDashengLM as it is published, for one clip, in the fewest words: what the packed graph is held against.

No class of transformers computes it, so it is written from the description of the published model: torch.stft, a mel bank
built here, BatchNorm, a strided convolution, windows with a key mask. The decoder is transformers' Qwen2Model.

Source: spec/recipes.md D.6.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


def mel_bank() -> torch.Tensor:
    """[257, 64] triangles over the HTK mel scale from 0 to 8000 Hz, not normalised."""
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, 66, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, 8000, 257, dtype=torch.float64)[:, None]
    left, mid, right = edges[:-2], edges[1:-1], edges[2:]
    return torch.minimum((bins - left) / (mid - left), (right - bins) / (right - mid)).clamp_min(0)


def features(clip: np.ndarray) -> torch.Tensor:
    """[64, 1 + n // 160] decibels, at most 120 below the loudest."""
    x = torch.from_numpy(np.pad(clip, (0, max(0, 3200 - len(clip))))).double()
    window = torch.hann_window(512, periodic=True, dtype=torch.float64)
    spectrum = torch.stft(x, 512, 160, window=window, center=True, pad_mode="reflect", return_complex=True)
    decibels = 10 * torch.log10((mel_bank().T @ spectrum.abs().square()).clamp_min(1e-10))
    return decibels.clamp_min(float(decibels.max()) - 120).float()


class MiDashengReference:
    """The model of a checkpoint folder in float32."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

        self.weights = load_file(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text())
        text = {k: v for k, v in self.config["text_config"].items() if k not in ("model_type", "rope_scaling")}
        self.decoder = Qwen2Model(Qwen2Config(**text)).eval()
        prefix = "decoder.model."
        decoder = {k.removeprefix(prefix): v for k, v in self.weights.items() if k.startswith(prefix)}
        self.decoder.load_state_dict(decoder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-6)

    def _window(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One window [t, width] through the layers; keys where the mask is False are pushed to the smallest number."""
        audio = self.config["audio_encoder_config"]
        for i in range(audio["depth"]):
            name = f"audio_encoder.blocks.{i}"
            one = torch.ones(x.shape[-1])
            heads = lambda y: y.unflatten(-1, (audio["num_heads"], -1)).transpose(0, 1)
            q, k, v = (heads(y) for y in self._linear(self._norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, -1))
            scores = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).masked_fill(~mask, torch.finfo(torch.float32).min)
            mixed = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
            x = x + self._linear(mixed, f"{name}.attn.proj") * self.weights.get(f"{name}.ls1.gamma", one)
            inner = F.gelu(self._linear(self._norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
            x = x + self._linear(inner, f"{name}.mlp.fc2") * self.weights.get(f"{name}.ls2.gamma", one)
        return self._norm(x, "audio_encoder.norm")

    @torch.no_grad()
    def audio(self, clip: np.ndarray) -> torch.Tensor:
        """[tokens, width] audio tokens."""
        w = self.weights
        part = lambda name: w[f"audio_encoder.{name}"]
        x = features(clip)[None, :, None]
        x = F.batch_norm(
            x, part("init_bn.running_mean"), part("init_bn.running_var"), part("init_bn.weight"), part("init_bn.bias")
        ).transpose(1, 2)
        x = F.conv2d(x, part("patch_embed.proj.weight"), part("patch_embed.proj.bias"), stride=(64, 4))
        mask = torch.arange(x.shape[-1]) < max(len(clip), 3200) // 640
        size = part("time_pos_embed").shape[-1]
        windows = []
        for piece, keep in zip(x.split(size, -1), mask.split(size)):
            piece = piece + part("time_pos_embed")[..., : piece.shape[-1]] + part("freq_pos_embed")
            windows.append(self._window(piece[0, :, 0].T, keep))
        rows = torch.cat(windows)
        count = max(1, (1 + max(len(clip), 3200) // 160) // 4 // 5)
        grouped = rows[: len(rows) // 5 * 5].reshape(-1, 5 * rows.shape[-1])
        assert len(grouped) == count
        return self._linear(F.gelu(self._linear(grouped, "audio_projector.net.0")), "audio_projector.net.2")

    @torch.no_grad()
    def hidden(self, prompt: str, clips: list[np.ndarray] = ()) -> torch.Tensor:
        """[tokens, width] last hidden states; each {audio} of the prompt is one clip."""
        rows = [self.audio(clip) for clip in clips]
        for row in rows:
            prompt = prompt.replace("{audio}", "<|AUDIO|>" * len(row), 1)
        ids = torch.tensor([self.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        x = self.decoder.embed_tokens(ids)
        if rows:
            x[ids == self.config["audio_token_id"]] = torch.cat(rows)
        return self.decoder(inputs_embeds=x, use_cache=False).last_hidden_state[0]
