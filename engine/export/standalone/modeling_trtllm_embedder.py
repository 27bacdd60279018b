"""The embedder as a model of TensorRT-LLM's PyTorch backend: Qwen2's decoder, then pooling, head and unit length.

Import it before making an LLM, or give its folder as --custom_module_dirs; config.json names its class.

    packed hidden states [sum of T, H] -> for each request: pooled -> head -> unit length -> [B, d] (or [B, 2 d], embed_head.py)
"""

from pathlib import Path

import torch
from embed_head import EmbedHead
from tensorrt_llm._torch.models.modeling_qwen import QwenModel
from tensorrt_llm._torch.models.modeling_utils import DecoderModelForCausalLM, register_auto_model
from torch import nn

FOLDER = Path(__file__).resolve().parent


@register_auto_model("AudioTextQwen2ForEmbedding")
class AudioTextQwen2ForEmbedding(DecoderModelForCausalLM):
    """Gives one row for each request of a batch; has no language head."""

    def __init__(self, model_config):
        # Past DecoderModelForCausalLM's own, which would make a language head.
        nn.Module.__init__(self)
        self.model_config = model_config
        self.model = QwenModel(model_config)
        self._head: EmbedHead | None = None

    def forward(
        self,
        attn_metadata,
        input_ids: "torch.Tensor | None" = None,
        position_ids: "torch.Tensor | None" = None,
        inputs_embeds: "torch.Tensor | None" = None,
        **kwargs,
    ) -> torch.Tensor:
        """[B, d] or [B, 2 d] vectors; rows of `inputs_embeds` [sum of T, H] take the place of tokens where they are given."""
        if inputs_embeds is not None:
            input_ids, inputs_embeds = None, inputs_embeds.to(self.model.embed_tokens.weight)
        hidden = self.model(
            attn_metadata=attn_metadata,
            input_ids=input_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )
        if self._head is None:
            # Read here and not above: while the model is made, tensors have no memory.
            self._head = EmbedHead(FOLDER, hidden.device)
        return self._head(hidden, attn_metadata.seq_lens.tolist())
