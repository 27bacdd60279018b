"""What is asked of a model that writes captions, and the interface that local models and endpoints share.

Source: own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...engine.audio import Waveform


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation that wants its next turn."""

    # What errors call it.
    name: str
    system: str
    # Turns that went before, as (user, assistant): the examples.
    examples: tuple[tuple[str, str], ...]
    text: str
    # Heard with `text`; None: text alone.
    audio: Waveform | None = None
    max_tokens: int = 256
    # 0: the likeliest token each time.
    temperature: float = 0.35
    top_p: float = 0.9
    seed: int = 0


@dataclass(frozen=True, slots=True)
class NoReply:
    """Why a request has no reply; others are not touched by it."""

    reason: str


class Captioner(Protocol):
    """A model that answers requests."""

    @property
    def name(self) -> str:
        """What decides the replies, for the record."""
        ...

    @property
    def hears(self) -> bool:
        """Whether requests may hold a sound."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Of the sounds that requests hold."""
        ...

    def replies(self, requests: Sequence[Request]) -> list[str | NoReply]:
        """A reply or its lack for each request, in order.

        Raises:
            BackendError: no request could be answered: the model is not there, or does not let us in.
        """
        ...
