"""What a TensorRT-LLM checkpoint computes, written from its format alone: every rank's part, then the sum over ranks.

Knows nothing of harken; float32; one request at a time. With 8-bit floats, what enters a linear layer is rounded as an
engine would.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class Interpreter:
    """A checkpoint folder of config.json and rank<r>.safetensors."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.tp = self.config["mapping"]["tp_size"]
        self.ranks = [load_file(Path(folder) / f"rank{rank}.safetensors") for rank in range(self.tp)]

    @torch.no_grad()
    def context_logits(self, rows_TH: torch.Tensor) -> torch.Tensor:
        """[T, vocab] of a request whose rows all come from its prompt table."""
        x = rows_TH.float()
        for layer in range(self.config["num_hidden_layers"]):
            at = f"transformer.layers.{layer}."
            y = self._norm(x, f"{at}input_layernorm.weight")
            x = x + sum(self._attention(rank, at, y) for rank in self.ranks)
            y = self._norm(x, f"{at}post_layernorm.weight")
            x = x + sum(self._mlp(rank, at, y) for rank in self.ranks)
        x = self._norm(x, "transformer.ln_f.weight")
        logits = torch.cat([x @ rank["lm_head.weight"].float().T for rank in self.ranks], 1)
        return logits[:, : self.config["vocab_size"]]

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight = self.ranks[0][name].float()
        assert all(torch.equal(rank[name], self.ranks[0][name]) for rank in self.ranks)
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.config["norm_epsilon"]) * weight

    def _linear(self, rank: dict, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = rank[f"{name}.weight"].float(), rank.get(f"{name}.bias")
        if f"{name}.weights_scaling_factor" in rank:
            scale = rank[f"{name}.activation_scaling_factor"]
            x = (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale
            weight = weight * rank[f"{name}.weights_scaling_factor"]
        return F.linear(x, weight, None if bias is None else bias.float())

    def _attention(self, rank: dict, at: str, y: torch.Tensor) -> torch.Tensor:
        c, width = self.config, self.config["head_size"]
        heads, groups = c["num_attention_heads"] // self.tp, max(1, c["num_key_value_heads"] // self.tp)
        qkv = self._linear(rank, f"{at}attention.qkv", y).unflatten(-1, (-1, width))
        q, k, v = qkv.split([heads, groups, groups], 1)
        q, k = self._rotated(q), self._rotated(k)
        out = []
        for head in range(heads):
            group = head // (heads // groups)
            scores = (q[:, head] @ k[:, group].T) * width**-0.5
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
            out.append(scores.softmax(-1) @ v[:, group])
        return self._linear(rank, f"{at}attention.dense", torch.cat(out, 1))

    def _rotated(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        angles = torch.arange(len(x))[:, None] * self.config["rotary_base"] ** (-torch.arange(half) / half)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def _mlp(self, rank: dict, at: str, y: torch.Tensor) -> torch.Tensor:
        hidden = F.silu(self._linear(rank, f"{at}mlp.fc", y)) * self._linear(rank, f"{at}mlp.gate", y)
        return self._linear(rank, f"{at}mlp.proj", hidden)


def stock_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of the language model, by stock names, that a checkpoint was cut from; bit for bit."""
    made = Interpreter(folder)
    c, tp = made.config, made.tp
    width, heads, groups = c["head_size"], c["num_attention_heads"], c["num_key_value_heads"]
    here, kept = heads // tp, max(1, groups // tp)
    found = {"model.norm.weight": made.ranks[0]["transformer.ln_f.weight"]}
    for layer in range(c["num_hidden_layers"]):
        at, to = f"transformer.layers.{layer}.", f"model.layers.{layer}."
        for kind in ("weight", "bias"):
            parts = [
                r[f"{at}attention.qkv.{kind}"].split([here * width, kept * width, kept * width]) for r in made.ranks
            ]
            found[f"{to}self_attn.q_proj.{kind}"] = torch.cat([part[0] for part in parts])
            for place, name in ((1, "k"), (2, "v")):
                # Where there are fewer heads than ranks, neighbours hold the same head.
                unique = [part[place] for part in parts][:: max(1, tp // groups)]
                found[f"{to}self_attn.{name}_proj.{kind}"] = torch.cat(unique)
        for name, stock, dim in (
            ("attention.dense", "self_attn.o_proj", 1),
            ("mlp.fc", "mlp.gate_proj", 0),
            ("mlp.gate", "mlp.up_proj", 0),
            ("mlp.proj", "mlp.down_proj", 1),
        ):
            found[f"{to}{stock}.weight"] = torch.cat([rank[f"{at}{name}.weight"] for rank in made.ranks], dim)
        found[f"{to}input_layernorm.weight"] = made.ranks[0][f"{at}input_layernorm.weight"]
        found[f"{to}post_attention_layernorm.weight"] = made.ranks[0][f"{at}post_layernorm.weight"]
    return found
