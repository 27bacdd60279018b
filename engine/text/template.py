"""Templates as data: a string with {audio}, {text} and {instruction} becomes token ids with the places of the sounds marked.

Sounds and sentences are put in as they are; what stands around a sound is tokenised once. A special token parts a
tokenizer's input, so the pieces before and after a sound are the same alone as in the whole string.

Source: the published prompt strings, spec/recipes.md A.3, B.2, C.2.
"""

from dataclasses import dataclass
from functools import lru_cache

from ...errors import InputError, ModelError
from .tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """One input of the model."""

    token_ids: list[int]
    # Rows that audio tokens overwrite, as (first, how many).
    audio_span: tuple[int, int] | None
    # Rows of {audio} or {text} themselves, as (first, past the last).
    content: tuple[int, int]

    def __len__(self) -> int:
        return len(self.token_ids)


class Template:
    """One prompt string of a recipe.

    Args:
        tokenizer: of the checkpoint.
        template: holds {audio} and/or {text}, each at most once, perhaps {instruction}.
        audio_token_id: the id that stands for one audio token.
        max_text_tokens: longer texts are cut to this many tokens; None: never.
        strip_end: blanks at the end of a text are dropped.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        *,
        audio_token_id: int | None = None,
        max_text_tokens: int | None = None,
        strip_end: bool = False,
    ) -> None:
        if "{audio}" in template and audio_token_id is None:
            raise ModelError(f"the template {template!r} takes sounds, but the checkpoint names no audio token")
        self._tokenizer, self._template = tokenizer, template
        self._audio_token_id, self._max_text_tokens, self._strip_end = audio_token_id, max_text_tokens, strip_end
        self._around_audio = lru_cache(maxsize=1024)(self._tokenise_around_audio)

    @property
    def takes_instruction(self) -> bool:
        return "{instruction}" in self._template

    def audio(self, num_audio_tokens: int, *, text: str = "", instruction: str = "") -> Prompt:
        """The prompt of a sound of `num_audio_tokens`, with `text` where the template has a place for one."""
        before, after = self._around_audio(self._fitted(text), instruction)
        assert self._audio_token_id is not None
        ids = [*before, *[self._audio_token_id] * num_audio_tokens, *after]
        start = len(before)
        return Prompt(ids, (start, num_audio_tokens), (start, start + num_audio_tokens))

    def text(self, text: str, *, instruction: str = "") -> Prompt:
        """The prompt of a sentence."""
        check_text(text)
        text = self._fitted(text)
        before = self._fill(self._template[: self._template.index("{text}")], instruction)
        after = self._fill(self._template[self._template.index("{text}") + len("{text}") :], instruction)
        tokens = self._tokenizer.encode(before + text + after)
        first, last = len(before), len(before) + len(text)
        inside = [i for i, (a, b) in enumerate(tokens.offsets) if a < last and b > first]
        return Prompt(tokens.ids, None, (inside[0], inside[-1] + 1))

    def _tokenise_around_audio(self, text: str, instruction: str) -> tuple[list[int], list[int]]:
        before, after = (
            self._fill(part, instruction).replace("{text}", text) for part in self._template.split("{audio}")
        )
        return self._tokenizer.encode(before).ids, self._tokenizer.encode(after).ids

    @staticmethod
    def _fill(part: str, instruction: str) -> str:
        return part.replace("{instruction}", instruction)

    def _fitted(self, text: str) -> str:
        if self._strip_end:
            text = text.rstrip()
        if self._max_text_tokens is None:
            return text
        tokens = self._tokenizer.encode(text)
        if len(tokens.ids) <= self._max_text_tokens:
            return text
        return text[: tokens.offsets[self._max_text_tokens - 1][1]]


def check_text(text: object, where: str = "") -> None:
    """Refuse what is no text to embed; `where` stands before the error."""
    if not isinstance(text, str):
        raise InputError(f"{where}a text must be a str, got {type(text).__name__}")
    if not text.strip():
        raise InputError(f"{where}a text is empty; wanted at least one visible character")
