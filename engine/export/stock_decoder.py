"""The decoder of any AudioLM as a plain Qwen2 language model: stock names, biases of zero where a Llama has none.

With sound and text alone Qwen2.5-Omni's three rotary axes are equal, so its decoder is an ordinary Qwen2; and a Llama is a
Qwen2 whose query, key and value biases are zero. One form serves every checkpoint.

Source: spec/trtllm.md 2.1; spec/models.md 1.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import ModelError
from ..embedder import Embedder
from ..load import Source
from ..models.config import DecoderConfig, read_json
from ..models.mllm import AudioLM
from .merged import StreamedWeights

# Positions where the base does not say.
_MAX_POSITIONS = 32768
# The linear layers of a layer, in the order in which they run; those of one input share its range.
LINEARS = {
    "self_attn.q_proj": "attention_in", "self_attn.k_proj": "attention_in", "self_attn.v_proj": "attention_in",
    "self_attn.o_proj": "attention_out", "mlp.gate_proj": "mlp_in", "mlp.up_proj": "mlp_in",
    "mlp.down_proj": "mlp_hidden",
}  # fmt: skip


@dataclass(frozen=True)
class StockDecoder:
    """Tensors of the decoder by the names of `Qwen2ForCausalLM`, merged, in one dtype, read when asked for."""

    weights: StreamedWeights
    config: DecoderConfig
    dtype: torch.dtype
    max_positions: int

    @classmethod
    def of(cls, source: Source, embedder: Embedder, dtype: torch.dtype) -> "StockDecoder":
        """The decoder of a checkpoint.

        Args:
            embedder: of the same source; gives the sizes.

        Raises:
            ModelError: a model without a decoder, one that looks both ways, or one with parts that a Qwen2 has not.
        """
        recipe = source.recipe
        if not isinstance(embedder.model, AudioLM):
            raise ModelError(
                f"{source.folder}: a {source.kind} has no decoder that TensorRT-LLM runs; wanted a multimodal language "
                "model. --to onnx and --to aoti export it"
            )
        if recipe.attention != "causal":
            raise ModelError(
                f"recipe {recipe.name!r} has {recipe.attention} attention; TensorRT-LLM's Qwen2 looks back only. "
                "--to onnx and --to aoti export it"
            )
        values = read_json(source.folder / "config.json")
        text: dict[str, Any] = values.get("thinker_config", values).get("text_config", {})
        weights = StreamedWeights(source.folder, adapter=source.adapter, dtype=dtype)
        made = cls(
            weights, embedder.model.decoder.config, dtype, int(text.get("max_position_embeddings", _MAX_POSITIONS))
        )
        known = {_canonical(name) for name in made.shapes()}
        unknown = [n for n in weights.names("decoder.") if n not in known]
        if unknown:
            raise ModelError(f"{source.folder}: {unknown} have no place in a Qwen2, so it cannot be exported as one")
        return made

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, in the order of the model."""
        c = self.config
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (c.vocab_size, c.width)}
        for i in range(c.num_layers):
            found |= {f"model.layers.{i}.{name}": shape for name, shape in self.layer_shapes().items()}
        return {**found, "model.norm.weight": (c.width,)}

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one layer's tensors."""
        c = self.config
        q, kv = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
        return {
            "input_layernorm.weight": (c.width,),
            "self_attn.q_proj.weight": (q, c.width), "self_attn.q_proj.bias": (q,),
            "self_attn.k_proj.weight": (kv, c.width), "self_attn.k_proj.bias": (kv,),
            "self_attn.v_proj.weight": (kv, c.width), "self_attn.v_proj.bias": (kv,),
            "self_attn.o_proj.weight": (c.width, q),
            "post_attention_layernorm.weight": (c.width,),
            "mlp.gate_proj.weight": (c.mlp_width, c.width),
            "mlp.up_proj.weight": (c.mlp_width, c.width),
            "mlp.down_proj.weight": (c.width, c.mlp_width),
        }  # fmt: skip

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor by its stock name."""
        shape = self.shapes()[name] if not name.startswith("model.layers.") else self._layer_shape(name)
        canonical = _canonical(name)
        if name.endswith(".bias") and canonical not in self.weights:
            return torch.zeros(shape, dtype=self.dtype)
        return self.weights.take(canonical, *shape)

    def layer(self, number: int) -> dict[str, torch.Tensor]:
        """The tensors of one layer by their names in it."""
        return {name: self.tensor(f"model.layers.{number}.{name}") for name in self.layer_shapes()}

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor, one after the other."""
        for name in self.shapes():
            yield name, self.tensor(name)

    def _layer_shape(self, name: str) -> tuple[int, ...]:
        return self.layer_shapes()[name.split(".", 3)[3]]


def _canonical(name: str) -> str:
    return "decoder." + name.removeprefix("model.")
