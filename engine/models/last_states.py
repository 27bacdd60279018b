"""Last hidden states of prompts whose beginnings are alike: each beginning runs once and is kept.

A recipe's prompts open with the same system prompt, role and instruction; of a short text query they are half the tokens.
Under causal attention their keys and values do not depend on what follows.

Source: own; spec/recipes.md H.11. The arithmetic is prefix.py's.
Letters: B prompts, A audio tokens, W width.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import torch

from ..text.template import Prompt
from .mllm import AudioLM
from .prefix import PrefixKV, extend, prefill

# Shorter beginnings cost more to attend to apart than to compute again.
MIN_SHARED = 8
# What follows may be this many times as long as the beginning; on a CPU, where attention in two parts is slower than in one,
# a short beginning before a long sound saves less than it costs.
MAX_RATIO = {"cpu": 12, "cuda": 1000}
# Beginnings kept: one a template and instruction.
MAX_KEPT = 16


class LastStates:
    """Runs a causal model; safe to use from several threads."""

    def __init__(self, model: AudioLM) -> None:
        self._model = model
        self._kept: OrderedDict[tuple[int, ...], PrefixKV] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, prompts: Sequence[Prompt], audio_rows_AW: torch.Tensor | None) -> torch.Tensor:
        """[B, W] the last row of each prompt, before the final norm; arguments as AudioLM.hidden."""
        beginnings = [tuple(prompt.token_ids[: prompt.content[0]]) for prompt in prompts]
        rows = _rows_of(prompts, audio_rows_AW)
        out: list[torch.Tensor | None] = [None] * len(prompts)
        for beginning in dict.fromkeys(beginnings):
            group = [i for i, other in enumerate(beginnings) if other == beginning]
            members = [prompts[i] for i in group]
            own_rows = [own for own in (rows[i] for i in group) if own is not None]
            states = self._run(beginning, members, torch.cat(own_rows) if own_rows else None)
            for i, state in zip(group, states):
                out[i] = state
        return torch.stack([state for state in out if state is not None])

    def _run(
        self, beginning: tuple[int, ...], prompts: list[Prompt], audio_rows_AW: torch.Tensor | None
    ) -> torch.Tensor:
        longest = max(len(prompt) for prompt in prompts)
        if len(beginning) < MIN_SHARED or longest > MAX_RATIO[self._model.device.type] * len(beginning):
            return self._model.hidden(prompts, audio_rows_AW, causal=True, last_only=True)[0]
        rests = [_without(prompt, len(beginning)) for prompt in prompts]
        x_NW, segments = self._model.embed(rests, audio_rows_AW)
        return extend(self._model.decoder, x_NW, segments, [self._prefix(beginning)], [len(prompts)])

    def _prefix(self, beginning: tuple[int, ...]) -> PrefixKV:
        with self._lock:
            if beginning in self._kept:
                self._kept.move_to_end(beginning)
                return self._kept[beginning]
        x_NW, segments = self._model.embed([Prompt(list(beginning), None, (0, len(beginning)))], None)
        kept = prefill(self._model.decoder, x_NW, segments)[0]
        with self._lock:
            self._kept[beginning] = kept
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return kept


def _without(prompt: Prompt, num_tokens: int) -> Prompt:
    """The prompt less its first tokens, which hold no sound."""
    first, last = prompt.content
    span = None if prompt.audio_span is None else (prompt.audio_span[0] - num_tokens, prompt.audio_span[1])
    return replace(
        prompt,
        token_ids=prompt.token_ids[num_tokens:],
        audio_span=span,
        content=(first - num_tokens, last - num_tokens),
    )


def _rows_of(prompts: Sequence[Prompt], audio_rows_AW: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The audio tokens of each prompt; None where it holds no sound."""
    if audio_rows_AW is None:
        return [None] * len(prompts)
    counts = [0 if prompt.audio_span is None else prompt.audio_span[1] for prompt in prompts]
    return [rows if count else None for rows, count in zip(audio_rows_AW.split(counts), counts)]
