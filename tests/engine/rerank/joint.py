"""Pairs whose parts meet in the upper layers, answered by transformers' own layers."""

from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
import torch

from harken.engine.recipes.rerank import get_rerank_recipe

from ..hf import Qwen2AudioOracle

RECIPE = replace(get_rerank_recipe("mini-rerank"), joint_from=2, product=False)
BEFORE, AFTER = "<|im_start|>user\n<|audio_bos|>", "<|audio_eos|><|im_end|>\n"


@dataclass(frozen=True, slots=True)
class Answered:
    """Logits [2] of Yes and No, the sound's audio tokens [n, W], and the text's rows [m, W] below the first joint layer."""

    logits: torch.Tensor
    tokens: torch.Tensor
    text: torch.Tensor


def p_yes(answered: Answered) -> float:
    return float(torch.softmax(answered.logits, 0)[0])


@torch.no_grad()
def answered(oracle: Qwen2AudioOracle, clip: Path, text: str, joint_from: int) -> Answered:
    """Both parts through the lower layers apart, then one behind the other."""
    decoder, inputs = oracle.model.model.language_model, []
    hook = decoder.register_forward_pre_hook(lambda _, args, kwargs: inputs.append(kwargs), with_kwargs=True)
    oracle.hidden(f"{BEFORE}{{audio}}{AFTER}", [soundfile.read(clip, dtype="float32")[0]])
    oracle.hidden(f"<|im_start|>user\n{text}<|im_end|>\n", [])
    hook.remove()
    first, second = (kwargs["inputs_embeds"] for kwargs in inputs)
    length = first.shape[1] + second.shape[1]
    positions = torch.arange(length)[None]

    def run(x, layers, at):
        mask = torch.full((x.shape[1],) * 2, float("-inf")).triu(1)[None, None]
        rotary = decoder.rotary_emb(x, at)
        for layer in layers:
            x = layer(x, attention_mask=mask, position_embeddings=rotary)
        return x

    def ids(part: str) -> list[int]:
        return oracle.tokenizer(part, add_special_tokens=False)["input_ids"]

    lower, upper = decoder.layers[:joint_from], decoder.layers[joint_from:]
    parts = run(first, lower, positions[:, : first.shape[1]]), run(second, lower, positions[:, : second.shape[1]])
    last = decoder.norm(run(torch.cat(parts, 1), upper, positions))[0, -1]
    tokens = first[0, len(ids(BEFORE)) : first.shape[1] - len(ids(AFTER))]
    return Answered(oracle.model.lm_head(last)[[ids(word)[0] for word in ("Yes", "No")]], tokens, parts[1][0])
