"""A packed Qwen2: transformers' model, one sequence after the other."""

import torch
from torch import nn
from transformers import Qwen2Model


class QwenModel(nn.Module):
    def __init__(self, model_config) -> None:
        super().__init__()
        inner = Qwen2Model(model_config.pretrained_config)
        self.embed_tokens, self.layers, self.norm = inner.embed_tokens, inner.layers, inner.norm
        object.__setattr__(self, "_inner", inner)

    def make_constants(self, config) -> None:
        self._inner.rotary_emb = type(self._inner.rotary_emb)(config)

    def forward(self, attn_metadata, input_ids=None, position_ids=None, inputs_embeds=None) -> torch.Tensor:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("wanted one of input_ids and inputs_embeds")
        rows = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        pieces = rows.split(attn_metadata.seq_lens.tolist())
        return torch.cat([self._inner(inputs_embeds=piece[None]).last_hidden_state[0] for piece in pieces])
