"""A multimodal LLM as an embedder needs it: samples to audio tokens, prompts to hidden states.

    samples -> tower.features -> tower.encode -> projector -> rows
    token ids -> embeddings, rows written over the placeholders -> decoder -> hidden states before the final norm

Source: own; the graphs are those of spec/models.md section 1.
Letters: N rows, A audio tokens, W width.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ...kernels.gather_rows import gather_rows
from ...kernels.logmel import LogMel, LogMelSpec
from ..text.template import Prompt
from .decoder import Decoder
from .packed import Segments
from .transfer import Samples, put


class Tower(Protocol):
    """What every audio tower can do."""

    spec: LogMelSpec

    def num_tokens(self, num_samples: int) -> int: ...

    def features(self, samples_N: torch.Tensor, cu_samples: Sequence[int]) -> LogMel: ...

    def encode(self, mel: LogMel) -> tuple[torch.Tensor, tuple[int, ...]]: ...


class AudioLM(nn.Module):
    """Tower, projector and decoder of one checkpoint, frozen."""

    def __init__(self, tower: Tower, projector: nn.Module | None, decoder: Decoder, audio_token_id: int) -> None:
        super().__init__()
        self.tower, self.projector, self.decoder, self.audio_token_id = tower, projector, decoder, audio_token_id
        self.eval()

    @property
    def width(self) -> int:
        return self.decoder.config.width

    @property
    def device(self) -> torch.device:
        return self.decoder.embed_tokens.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.embed_tokens.dtype

    def features(self, clips: Sequence[np.ndarray]) -> LogMel:
        """Log-mel features of clips, each float32 [n] at the tower's sample rate."""
        return self.tower.features(*Samples.of(clips, self.device))

    def audio_rows(self, mel: LogMel) -> tuple[torch.Tensor, tuple[int, ...]]:
        """[A, W] audio tokens of all clips end to end, and how many each clip has."""
        rows, num_tokens = self.tower.encode(mel)
        return (rows if self.projector is None else self.projector(rows)), num_tokens

    def hidden(
        self, prompts: Sequence[Prompt], audio_rows_AW: torch.Tensor | None, *, causal: bool, last_only: bool = False
    ) -> tuple[torch.Tensor, Segments]:
        """Hidden states of the prompts, before the final norm.

        Args:
            prompts: their audio spans, in order, take the rows of `audio_rows_AW`.
            audio_rows_AW: None where no prompt holds a sound.
            causal: as in Decoder.
            last_only: only the last row of each prompt.

        Returns: [N, W] (or [len(prompts), W]) and the cut of the N rows.
        """
        x_NW, segments = self.embed(prompts, audio_rows_AW)
        return self.decoder(x_NW, segments, causal=causal, last_only=last_only), segments

    def embed(self, prompts: Sequence[Prompt], audio_rows_AW: torch.Tensor | None) -> tuple[torch.Tensor, Segments]:
        """The decoder's input: [N, W] rows of tokens and sounds, and their cut; arguments as `hidden`."""
        segments = Segments.of([len(prompt) for prompt in prompts])
        ids = np.concatenate([np.asarray(prompt.token_ids, dtype=np.int64) for prompt in prompts])
        x_NW = self.decoder.embed(put(ids, self.device))
        if audio_rows_AW is not None:
            places = np.concatenate(
                [
                    first + p.audio_span[0] + np.arange(p.audio_span[1])
                    for p, first in zip(prompts, segments.starts)
                    if p.audio_span is not None
                ]
            )
            gather_rows(x_NW, audio_rows_AW, torch.from_numpy(places))
        return x_NW, segments
