"""How much one request, and all of them together, may ask for.

Source: own.
"""

from dataclasses import dataclass, fields

from ...errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the server; each must be positive."""

    # Of a request's body. Sounds in JSON are base64, which takes a third more than the file.
    max_body_bytes: int = 32 << 20
    # Of the bodies of all requests in flight; past it requests are turned away with 429.
    max_inflight_bytes: int = 512 << 20
    # Texts and sounds of one request.
    max_items: int = 256
    # Seconds of sound of one request, all items together.
    max_audio_s: float = 600.0
    # Tokens of one request, of texts and sounds together.
    max_request_tokens: int = 1 << 16
    # Tokens that wait for the model, of all requests together; past it requests are turned away with 429.
    max_pending_tokens: int = 1 << 18
    # Pairs that wait for the reranker, of all requests together.
    max_pending_pairs: int = 4096
    # Seconds that requests in flight get to finish when the server is stopped.
    shutdown_s: float = 30.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; wanted above 0")
