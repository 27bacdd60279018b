"""The file of hard negatives: JSON lines, one a row, nearest first.

    {"id", "texts": [...], "text_ids": [...], "text_scores": [...], "sounds": [...], "sound_scores": [...]}

Source: own; AuroLA's metadata holds the same as indices.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import FileFormatError, InputError


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """What a model takes for the text, or the sound, of a row and is not."""

    # Of the row.
    id: str
    # Captions of other rows, the ids of these, and the scores with the row's sound.
    texts: list[str]
    text_ids: list[str]
    text_scores: list[float]
    # Ids of other rows, and their sounds' scores with the row's captions.
    sounds: list[str]
    sound_scores: list[float]

    def line(self) -> str:
        """A line of the file."""
        return json.dumps(asdict(self), ensure_ascii=False)


def read_hard(path: str | Path) -> dict[str, HardNegatives]:
    """Hard negatives by the row's id.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: a line is none of this file's; the text names it.
    """
    found: dict[str, HardNegatives] = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    one = HardNegatives(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise FileFormatError(f"{path}:{number}: holds no hard negatives: {error}") from None
                found[one.id] = one
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    return found
