"""What of a bulk run is not the sounds and not the model.

Source: own.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ...errors import InputError
from .sinks import make_sink


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it decides what the files hold: a folder is gone on with only under the same."""

    # "parquet", "npy" or "tokens".
    format: str = "parquet"
    # "float32", "float16" or "int8"; tokens: "bfloat16" or "float16".
    dtype: str = "float32"
    # Rows of the manifest a part.
    part_rows: int = 4096
    # For recipes whose audio template takes one; None: the recipe's own.
    instruction: str | None = None

    def __post_init__(self) -> None:
        make_sink(self.format, self.dtype, {})
        if self.part_rows < 1:
            raise InputError(f"part_rows is {self.part_rows}; wanted at least 1")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
