"""What an Embedder needs of a model: prompts and samples in, one vector a prompt out.

Two kinds of model answer to it: multimodal LLMs (lm_encoder.py), and two encoders that meet in one space
(two_tower_encoder.py).

Source: own.
Letters: B prompts, C pieces of clips, D width of a vector.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from ..kernels.pool import pool
from .models.dual import DualEncoder
from .models.heads import Head
from .models.mllm import AudioLM
from .models.packed import Segments
from .models.transfer import Samples
from .text.template import Prompt


class Encoder(Protocol):
    """A model with the part of its recipe that shapes vectors."""

    @property
    def model(self) -> AudioLM | DualEncoder: ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    # What turns a pooled state into a vector; None: it is the vector.
    audio_head: Head | None
    text_head: Head | None

    def cost(self, prompt: Prompt) -> int:
        """Tokens that a prompt of a sound counts for in a batch."""
        ...

    def audio_vectors(self, samples: Samples, prompts: Sequence[Prompt]) -> torch.Tensor:
        """[B, D] float32 on the model's device: clips that are short enough to be heard at once, a prompt each."""
        ...

    def text_vectors(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """[B, D] float32 on the model's device."""
        ...

    def pool_pieces(self, pieces_CD: torch.Tensor, clips: Segments) -> torch.Tensor:
        """Vectors of clips from what `audio_vectors` gave for their pieces, which lie side by side."""
        ...


def mean_of_pieces(pieces_CD: torch.Tensor, clips: Segments, *, normalize: bool) -> torch.Tensor:
    """The mean of each clip's pieces, of unit length where asked; the vector of a clip in one piece stays as it is."""
    if len(clips) == len(pieces_CD):
        return pieces_CD
    mean_BD = pool(pieces_CD, clips.cu_seqlens(pieces_CD.device), mode="mean")
    return F.normalize(mean_BD, dim=-1) if normalize else mean_BD
