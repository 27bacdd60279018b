"""A multimodal LLM of transformers as training needs it: features to audio rows, rows of tokens to hidden states.

Features of a sound are the tower's outputs [tokens, tower width], computed once, where the tower is frozen, and log-mel
frames [frames, mels] where it is trained. Padding stands on the right, where a causal decoder never looks at it.

Source: own; part names as in transformers' modules.
Letters: B prompts, L tokens of the longest, A audio tokens, W width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ...engine.models.adapter import Adapter
from ...engine.models.config import read_json
from ...engine.models.names import canonical
from ...errors import ModelError

# What LoRA can be put on.
Part = Literal["decoder", "decoder-attention", "decoder-qkv", "tower", "tower-attention", "projector"]
DECODER_LAYERS = {
    "decoder": "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj",
    "decoder-attention": "q_proj|k_proj|v_proj|o_proj",
    "decoder-qkv": "q_proj|k_proj|v_proj",
}


class Backbone(ABC):
    """One loaded checkpoint. `model` is what peft wraps; the other members reach into it."""

    # Regular expression of the linear layers of each part, over the model's own names.
    parts: dict[str, str]
    # Names of the projector's layers, for training them whole.
    projector_names: list[str]
    model: Any
    audio_token_id: int

    def __init__(self, folder: Path, *, trains_tower: bool) -> None:
        self.folder, self.trains_tower = folder, trains_tower

    @property
    @abstractmethod
    def decoder(self) -> Any:
        """The decoder: takes inputs_embeds, gives last_hidden_state after the final norm."""

    @property
    def width(self) -> int:
        return int(self.decoder.config.hidden_size)

    @abstractmethod
    def audio_rows(self, features: Sequence[np.ndarray]) -> torch.Tensor:
        """[A, W] rows of all sounds, end to end."""

    def num_tokens(self, features: np.ndarray) -> int:
        """Audio tokens of one sound's features."""
        return len(features)

    def answer_rows(self, token_ids: Sequence[int]) -> torch.Tensor:
        """[len(token_ids), W] float32 rows of the output layer, frozen; of the embedding where the decoder ties the two."""
        is_tied = self.decoder.config.tie_word_embeddings
        layer = self.decoder.get_input_embeddings() if is_tied else self.model.get_output_embeddings()
        return layer.weight[list(token_ids)].detach().float()

    def hidden(
        self,
        ids_BL: torch.Tensor,
        is_audio_BL: torch.Tensor,
        rows_AW: torch.Tensor | None,
        *,
        mask_BLL: torch.Tensor | None = None,
        positions_BL: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[B, L, W] hidden states after the final norm.

        Args:
            ids_BL: token ids.
            is_audio_BL: places that take `rows_AW`, in order.
            mask_BLL: bool, what each token sees; None: all before it.
            positions_BL: of the tokens; None: 0, 1, 2 ...
        """
        x_BLW = self.embed(ids_BL, is_audio_BL, rows_AW)
        more: dict[str, Any] = {}
        if mask_BLL is not None:
            more["attention_mask"] = mask_BLL[:, None].to(self.device)
        if positions_BL is not None:
            more["position_ids"] = positions_BL.to(self.device)
        return self.decoder(inputs_embeds=x_BLW, use_cache=False, **more).last_hidden_state

    def embed(self, ids_BL: torch.Tensor, is_audio_BL: torch.Tensor, rows_AW: torch.Tensor | None) -> torch.Tensor:
        """[B, L, W] what goes into the first layer; arguments as `hidden`."""
        x_BLW = self.decoder.get_input_embeddings()(ids_BL.to(self.device))
        if rows_AW is not None:
            x_BLW = x_BLW.masked_scatter(is_audio_BL.to(self.device)[..., None], rows_AW.to(x_BLW.dtype))
        return x_BLW

    def run_layers(
        self, x_BLW: torch.Tensor, layers: slice, mask_BLL: torch.Tensor, positions_BL: torch.Tensor
    ) -> torch.Tensor:
        """[B, L, W] behind some of the decoder's layers, which stand in the layout of Llama and Qwen2.

        Args:
            x_BLW: what goes into the first of them.
            layers: of the decoder's.
            mask_BLL, positions_BL: as of `hidden`.
        """
        rotary = self.decoder.rotary_emb(x_BLW, positions_BL)
        for layer in self.decoder.layers[layers]:
            x_BLW = layer(x_BLW, attention_mask=mask_BLL[:, None], position_embeddings=rotary)
        return x_BLW

    def checkpoint_layers(self) -> None:
        """Keep no activations inside the layers; the backward pass computes them again."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def device(self) -> torch.device:
        return self.decoder.get_input_embeddings().weight.device


def open_backbone(folder: str | Path, *, dtype: torch.dtype, trains_tower: bool = False) -> Backbone:
    """Load the checkpoint in `folder`, its weights frozen.

    Raises:
        ModelError: training knows no such model, or its tower cannot be trained here.
    """
    from .midasheng import MiDashengBackbone
    from .omni import OmniBackbone
    from .qwen2_audio import Qwen2AudioBackbone

    kinds: dict[str, Any] = {
        "qwen2_audio": Qwen2AudioBackbone,
        "qwen2_5_omni": OmniBackbone,
        "qwen2_5_omni_thinker": OmniBackbone,
        "midashenglm": MiDashengBackbone,
    }
    folder = Path(folder)
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in kinds:
        raise ModelError(f"{folder}: model_type is {kind!r}; LoRA is trained on {sorted(kinds)}")
    backbone = kinds[kind](folder, dtype=dtype, trains_tower=trains_tower)
    backbone.model.requires_grad_(False)
    return backbone


@torch.no_grad()
def merge_adapter(backbone: Backbone, folder: str | Path) -> None:
    """Merge an adapter into the checkpoint's weights, in float32 and with one cast, before LoRA is put on them.

    Raises:
        ModelError: it is not one of this checkpoint.
    """
    adapter = Adapter(folder)
    for name, parameter in backbone.model.named_parameters():
        known = canonical(name)
        if known is not None:
            parameter.copy_(adapter.apply(known, parameter))
    adapter.check_all_used()


def decoder_parts(prefix: str) -> dict[str, str]:
    """The decoder's parts where its layers' names begin with `prefix`."""
    return {part: rf"{prefix}\.layers\.\d+\.(self_attn|mlp)\.({names})" for part, names in DECODER_LAYERS.items()}


def fuse_norms(decoder: nn.Module) -> None:
    """Let a Llama decoder's RMSNorms run as one operation, which keeps fewer copies for the backward pass."""
    from functools import partial

    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    for norm in (module for module in decoder.modules() if isinstance(module, LlamaRMSNorm)):
        norm.forward = partial(_rms_norm, norm)


def _rms_norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
