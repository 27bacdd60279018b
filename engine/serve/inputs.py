"""What a request's items are: a text, a sound, or a sound with a text.

Source: own; the shapes are those of schemas.py.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from .remote import Remote
from .schemas import AudioUrlPart, Document, EmbeddingsRequest, InputAudioPart, Message, Part, TextPart

DecodeTokens = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to embed; at least one of text and sound is there."""

    text: str | None = None
    # Bytes of a file, or a URL that is still to be read.
    sound: bytes | str | None = None
    instruction: str | None = None


def items_of(request: EmbeddingsRequest, decode_tokens: DecodeTokens) -> list[Item]:
    """The items of an embeddings request.

    Args:
        request: exactly one of input and messages is given.
        decode_tokens: gives the text of token ids.

    Raises:
        InputError: neither or both are given, or an item is not one the server knows; the text names it.
    """
    if (request.input is None) == (request.messages is None):
        raise InputError("wanted exactly one of input and messages")
    if request.messages is not None:
        given = request.messages
        conversations = given if isinstance(given[0], list) else [given]
        return [_of_conversation(c, f"messages[{i}]") for i, c in enumerate(conversations)]  # type: ignore[arg-type]
    return [Item(text=text) for text in _texts(request.input, decode_tokens)]


def of_document(document: str | Document, name: str) -> Item:
    """The item of a rerank or search request's query or document.

    Raises:
        InputError: it holds nothing, or more than one thing.
    """
    if isinstance(document, str):
        return Item(text=document)
    given = [field for field in ("text", "audio_url", "content") if getattr(document, field) is not None]
    if len(given) != 1:
        raise InputError(f"{name}: wanted exactly one of text, audio_url and content, got {given or 'none'}")
    if document.audio_url is not None:
        return Item(sound=_sound(document.audio_url.url, name))
    if isinstance(document.content, list):
        return _of_parts(document.content, name, None)
    return Item(text=document.text if document.text is not None else document.content)


def read_url(sound: bytes | str, remote: Remote, name: str) -> bytes:
    """A sound's bytes, read from its URL where it is one."""
    return sound if isinstance(sound, bytes) else remote.read(sound, name)


def _texts(given: Any, decode_tokens: DecodeTokens) -> Sequence[str]:
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return given
    lists = [given] if isinstance(given[0], int) else given
    return [decode_tokens(ids) for ids in lists]


def _of_conversation(messages: Sequence[Message], name: str) -> Item:
    system = [m for m in messages if m.role == "system"]
    users = [m for m in messages if m.role == "user"]
    if len(users) != 1 or len(system) > 1:
        raise InputError(
            f"{name}: wanted one user message and at most one system message, got {len(users)} and {len(system)}"
        )
    instruction = None
    if system:
        instruction = _text_of(system[0], name)
    content = users[0].content
    if isinstance(content, str):
        return Item(text=content, instruction=instruction)
    return _of_parts(content, name, instruction)


def _text_of(message: Message, name: str) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = [part.text for part in message.content if isinstance(part, TextPart)]
    if len(parts) != len(message.content):
        raise InputError(f"{name}: a system message holds a sound; wanted text alone")
    return "\n".join(parts)


def _of_parts(parts: Sequence[Part], name: str, instruction: str | None) -> Item:
    sounds = [part for part in parts if not isinstance(part, TextPart)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if len(sounds) > 1:
        raise InputError(f"{name}: holds {len(sounds)} sounds; wanted at most one, give each an item of its own")
    return Item("\n".join(texts) if texts else None, _of_part(sounds[0], name) if sounds else None, instruction)


def _of_part(part: AudioUrlPart | InputAudioPart, name: str) -> bytes | str:
    if isinstance(part, InputAudioPart):
        return _decoded(part.input_audio.data, name)
    return _sound(part.audio_url.url, name)


def _sound(url: str, name: str) -> bytes | str:
    if not url.startswith("data:"):
        return url
    head, comma, data = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise InputError(f"{name}: a data URL must be data:audio/...;base64,..., got {head[:60]!r}")
    return _decoded(data, name)


def _decoded(data: str, name: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name}: is not valid base64: {error}") from None
