"""A checkpoint's tokenizer, by the `tokenizers` library.

Source: the files tokenizer.json of Hugging Face checkpoints.
"""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as _Tokenizer

from ...errors import InputError, ModelError


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of a string, and where in the string each came from."""

    ids: list[int]
    # (first, past the last) character of each token.
    offsets: list[tuple[int, int]]


class Tokenizer:
    """Reads `tokenizer.json` in a checkpoint folder. Safe to use from several threads."""

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{folder}: tokenizer.json is missing")
        try:
            self._tokenizer = _Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"{path}: cannot be read as a tokenizer: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.path = path

    def encode(self, text: str) -> Tokens:
        """Tokenise without adding special tokens; those written in `text` are recognised."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Tokens(encoding.ids, encoding.offsets)

    def encode_ids(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids.

        Raises:
            InputError: an id that the vocabulary does not have.
        """
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        unknown = [i for i in token_ids if not 0 <= i < size]
        if unknown:
            raise InputError(f"token id {unknown[0]} is not in this model's vocabulary of {size}")
        return self._tokenizer.decode(token_ids, skip_special_tokens=False)

    def token_id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ModelError(f"{self.path}: has no token {token!r}")
        return found
