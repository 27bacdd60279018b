"""A pair's prompt, cut into the part that other pairs share and the part that is its own.

    audio before text   ... Query:<sound>Find a caption ... Candidate | :a dog barks<end>
    text before audio   ... caption: a dog barksCandidate:<bos>       | <sound><end>

A tokenizer may join the last character before a text with the text's first, so where a text follows, the cut is one token
earlier than the template's: the ids are always those of the whole string.

Source: own; the strings are those of spec/recipes.md C.6.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import InputError
from ..recipes.rerank import RerankRecipe
from ..text.template import Prompt, Template
from ..text.tokenizer import Tokenizer

Direction = Literal["a2t", "t2a"]


@dataclass(frozen=True, slots=True)
class SplitPrompt:
    """The prompt of one pair; exactly one part holds the sound."""

    prefix: Prompt
    suffix: Prompt

    def __len__(self) -> int:
        return len(self.prefix) + len(self.suffix)


class PairPrompts:
    """The prompts of a rerank recipe.

    Args:
        tokenizer: of the checkpoint.
        recipe: gives the templates.
        audio_token_id: stands for one audio token.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: RerankRecipe, audio_token_id: int) -> None:
        self._instruction = recipe.instruction
        self._templates: dict[str, Template] = {}
        # Ids between the sound and the text that all pairs may share, where the sound comes first, else None.
        self._between: dict[str, list[int] | None] = {}
        for direction in get_args(Direction):
            template = recipe.template(direction)
            whole = template.replace("{meet}", "")
            self._templates[direction] = Template(tokenizer, whole, audio_token_id=audio_token_id)
            before, after = template.split("{audio}")
            between, meet, _ = after.split("{text}")[0].replace("{instruction}", recipe.instruction).partition("{meet}")
            ids = tokenizer.encode(between).ids
            # Without a mark the last of them may run into the text.
            self._between[direction] = None if "{text}" in before else ids if meet else ids[:-1]

    def shares_audio(self, direction: Direction) -> bool:
        """Whether the shared part holds the sound (else it holds the text)."""
        return self._between[direction] is not None

    def split(self, direction: Direction, text: str, num_audio_tokens: int) -> SplitPrompt:
        """The two parts of a pair's prompt.

        Raises:
            InputError: the text is no string or is empty.
        """
        if not isinstance(text, str):
            raise InputError(f"a text must be a str, got {type(text).__name__}")
        if not text.strip():
            raise InputError("a text is empty; wanted at least one visible character")
        whole = self._templates[direction].audio(num_audio_tokens, text=text, instruction=self._instruction)
        assert whole.audio_span is not None
        first, count = whole.audio_span
        between = self._between[direction]
        if between is None:
            return self._cut(whole, first)
        common = 0
        for ours, theirs in zip(between, whole.token_ids[first + count :]):
            if ours != theirs:
                break
            common += 1
        return self._cut(whole, first + count + common)

    @staticmethod
    def _cut(whole: Prompt, at: int) -> SplitPrompt:
        ids, (first, count) = whole.token_ids, whole.audio_span  # type: ignore[misc]
        in_prefix = first < at
        return SplitPrompt(
            Prompt(ids[:at], (first, count) if in_prefix else None, (0, at)),
            Prompt(ids[at:], None if in_prefix else (first - at, count), (0, len(ids) - at)),
        )
