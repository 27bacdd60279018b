"""A Qwen2-Audio model as an embedder that can be trained: LoRA on the decoder, the projector, and two heads.

    vector = unit(layer_norm(W mean_t(decoder(prompt)_t)))

The audio tower stays frozen, so its outputs come from a cache and only projector and decoder run. The decoder's base
weights are in bfloat16; everything that is trained is in float32.

Source: own; pooling and heads as in Omni-Embed-Audio (spec/recipes.md B.3).
Letters: B prompts, L tokens of the longest, W width, D dimensions of the vectors.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen2AudioForConditionalGeneration
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from ..engine.recipes import Recipe
from ..engine.text.template import Prompt, Template
from ..engine.text.tokenizer import Tokenizer
from ..errors import ModelError
from . import lora

_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
DIM = 512


def _fuse_norms(decoder: nn.Module) -> None:
    """Let the decoder's RMSNorms run as one operation, which keeps fewer copies for the backward pass."""
    for norm in (module for module in decoder.modules() if isinstance(module, LlamaRMSNorm)):
        norm.forward = partial(_rms_norm, norm)


def _rms_norm(norm: LlamaRMSNorm, x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


class Head(nn.Module):
    """Linear without bias, then LayerNorm, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, DIM, bias=False)
        self.norm = nn.LayerNorm(DIM, eps=1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.norm(self.linear(x)), dim=-1)

    @torch.no_grad()
    def whiten(self, states_BW: torch.Tensor) -> None:
        """Start from the principal axes of some states, their mean taken out, each axis near unit variance.

        Where there are fewer axes than outputs, the other rows stay as drawn.
        """
        x = states_BW.double()
        mean = x.mean(0)
        direction = mean / mean.norm()
        x = x - mean
        x = x - (x @ direction)[:, None] * direction
        values, axes = torch.linalg.eigh(x.T @ x / len(x))
        kept = slice(max(0, len(values) - DIM), None)
        floor = 0.1 * values[kept].mean()
        weight = (axes[:, kept] / (values[kept].clamp_min(0) + floor).sqrt()).T
        weight = weight - (weight @ direction)[:, None] * direction
        self.linear.weight[: len(weight)] = weight.to(self.linear.weight)


class TrainableEmbedder(nn.Module):
    """The model, its LoRA layers and heads.

    Args:
        folder: a Qwen2-Audio checkpoint.
        recipe: prompts and pooling.
        rank: of the LoRA layers; alpha is twice that.
        seed: of everything that is drawn.
        dtype: of the frozen weights.
        max_tokens: padded tokens of one pass through the decoder.
    """

    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe,
        *,
        rank: int = 16,
        seed: int = 0,
        dtype: torch.dtype = torch.bfloat16,
        max_tokens: int = 2048,
    ) -> None:
        super().__init__()
        if recipe.audio_template is None or recipe.text_template is None:
            raise ModelError(f"recipe {recipe.name}: training wants an audio and a text template")
        torch.manual_seed(seed)
        base = Qwen2AudioForConditionalGeneration.from_pretrained(str(folder), dtype=dtype)
        base.requires_grad_(False)
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules=_TARGETS, modules_to_save=["multi_modal_projector.linear"]
        )
        self.peft = get_peft_model(base, config)
        inner = self.peft.base_model.model.model
        self._decoder, self._projector = inner.language_model, inner.multi_modal_projector.linear
        for parameter in self.peft.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        lora.use_merged(self._decoder)
        _fuse_norms(self._decoder)
        width = base.config.text_config.hidden_size
        self.audio_head, self.text_head = Head(width), Head(width)
        self.recipe, self.max_tokens, self.dtype = recipe, max_tokens, dtype
        tokenizer = Tokenizer(folder)
        self.audio_template = Template(tokenizer, recipe.audio_template, audio_token_id=base.config.audio_token_id)
        self.text_template = Template(tokenizer, recipe.text_template)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def audio_states(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        """[B, W] pooled states of clips, from the tower's outputs [tokens, tower width]."""
        return self._states([self.audio_template.audio(len(f)) for f in features], features)

    def text_states(self, texts: Sequence[str]) -> torch.Tensor:
        """[B, W] pooled states of sentences; equal sentences run once."""
        places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        states = self._states([self.text_template.text(text) for text in places], None)
        return states[[places[text] for text in texts]]

    def audio(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        """[B, D] unit vectors of clips."""
        return self.audio_head(self.audio_states(features))

    def text(self, texts: Sequence[str]) -> torch.Tensor:
        """[B, D] unit vectors of sentences."""
        return self.text_head(self.text_states(texts))

    def _states(self, prompts: list[Prompt], features: Sequence[np.ndarray] | None) -> torch.Tensor:
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        states: list[torch.Tensor] = []
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(prompts[order[stop]]) <= self.max_tokens:
                stop += 1
            group = order[start:stop]
            states.append(self._group([prompts[i] for i in group], features and [features[i] for i in group]))
            start = stop
        return torch.cat(states)[torch.tensor(np.argsort(order))]

    def _group(self, prompts: list[Prompt], features: Sequence[np.ndarray] | None) -> torch.Tensor:
        """[B, W] means over the tokens; padding stands on the right, where a causal decoder never looks at it."""
        length = max(len(p) for p in prompts)
        ids_BL = torch.tensor([p.token_ids + [0] * (length - len(p)) for p in prompts])
        embedded_BLW = self._decoder.embed_tokens(ids_BL)
        pooled_BL = torch.zeros(ids_BL.shape)
        is_audio_BL = torch.zeros(ids_BL.shape, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            first, last = prompt.content if self.recipe.pooling == "mean-content" else (0, len(prompt))
            pooled_BL[row, first:last] = 1 / (last - first)
            if prompt.audio_span:
                is_audio_BL[row, prompt.audio_span[0] : sum(prompt.audio_span)] = True
        if features is not None:
            tokens = self._projector(torch.from_numpy(np.concatenate(features)).float())
            embedded_BLW = embedded_BLW.masked_scatter(is_audio_BL[..., None], tokens.to(embedded_BLW.dtype))
        hidden_BLW = self._decoder(inputs_embeds=embedded_BLW, use_cache=False).last_hidden_state
        return torch.einsum("bl,blw->bw", pooled_BL, hidden_BLW.float())

    def save(self, folder: str | Path) -> None:
        """Write adapter and heads in float16: `adapter_config.json`, `adapter_model.safetensors`, `heads.safetensors`."""
        folder = Path(folder)
        self.peft.peft_config[lora.ADAPTER].base_model_name_or_path = self.recipe.name
        self.peft.save_pretrained(folder, save_embedding_layers=False)
        # peft's template of a model card, with nothing filled in.
        (folder / "README.md").unlink(missing_ok=True)
        file = folder / "adapter_model.safetensors"
        save_file({k: v.half() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
        heads = {k: v.half() for k, v in self.state_dict().items() if k.startswith(("audio_head.", "text_head."))}
        save_file(
            {k: v.contiguous() for k, v in heads.items()}, folder / "heads.safetensors", metadata={"format": "pt"}
        )
