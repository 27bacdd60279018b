"""The prompts of a recipe: a sound, a sentence, or both, with the caller's instruction or the recipe's own.

Source: own.
"""

from collections.abc import Sequence

from ..errors import InputError
from .recipes import Recipe
from .text.template import Prompt, Template, check_text
from .text.tokenizer import Tokenizer


class Prompts:
    """Makes prompts.

    Args:
        recipe: its templates and limits.
        tokenizer: of the checkpoint.
        audio_token_id: stands for one audio token.
    """

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, audio_token_id: int) -> None:
        self._recipe = recipe

        def template(text: str | None) -> Template | None:
            if text is None:
                return None
            return Template(
                tokenizer,
                text,
                audio_token_id=audio_token_id,
                max_text_tokens=recipe.max_text_tokens,
                strip_end=recipe.strip_text_end,
            )

        self._audio, self._text = template(recipe.audio_template), template(recipe.text_template)
        self._audio_text = template(recipe.audio_text_template)

    def audio(self, nums_tokens: Sequence[int], instruction: str | None = None) -> list[Prompt]:
        """Prompts of sounds of so many audio tokens.

        Raises:
            InputError: the recipe takes no sounds, or no instruction.
        """
        template = self._wanted(self._audio, "sounds")
        given = self._instruction(template, instruction, self._recipe.default_audio_instruction)
        return [template.audio(n, instruction=given) for n in nums_tokens]

    def text(self, texts: Sequence[str], instruction: str | None = None) -> list[Prompt]:
        """Prompts of sentences.

        Raises:
            InputError: a text is no string or is empty, or the recipe takes no text or no instruction.
        """
        template = self._wanted(self._text, "text")
        given = self._instruction(template, instruction, self._recipe.default_text_instruction)
        for i, text in enumerate(texts):
            check_text(text, f"texts[{i}]: ")
        return [template.text(text, instruction=given) for text in texts]

    def audio_text(
        self, nums_tokens: Sequence[int], texts: Sequence[str], instruction: str | None = None
    ) -> list[Prompt]:
        """Prompts of sounds with a text each.

        Raises:
            InputError: the recipe takes no sound together with a text, or no instruction.
        """
        template = self._wanted(self._audio_text, "sound together with a text")
        given = self._instruction(template, instruction, self._recipe.default_audio_instruction)
        return [template.audio(n, text=text, instruction=given) for n, text in zip(nums_tokens, texts)]

    def _wanted(self, template: Template | None, what: str) -> Template:
        if template is None:
            raise InputError(f"recipe {self._recipe.name!r} takes no {what}")
        return template

    def _instruction(self, template: Template, given: str | None, default: str) -> str:
        if given is not None and not template.takes_instruction:
            raise InputError(f"recipe {self._recipe.name!r} takes no instruction, got {given!r}")
        return default if given is None else given
