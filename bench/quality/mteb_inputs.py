"""What mteb's data loaders hold, as lists by column, sounds as bytes that harken decodes itself.

Source: own.
"""

from collections.abc import Iterator
from typing import Any

from ...errors import InputError


def batches(inputs: Any) -> Iterator[dict[str, list[Any]]]:
    """The batches of an mteb data loader as lists by column; sounds as their bytes or as they are."""
    from torch.utils.data import DataLoader

    if not isinstance(inputs, DataLoader):
        yield from inputs
        return
    plain = DataLoader(
        _undecoded(inputs.dataset),  # type: ignore[arg-type]
        batch_size=inputs.batch_size,
        num_workers=inputs.num_workers,
        collate_fn=_columns,
    )
    yield from plain


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _undecoded(dataset: Any) -> Any:
    """A Hugging Face dataset whose sounds stay bytes; anything else as it is."""
    from datasets import Audio, Dataset

    if not isinstance(dataset, Dataset):
        return dataset
    for name, feature in dataset.features.items():
        if isinstance(feature, Audio):
            dataset = dataset.cast_column(name, Audio(decode=False))
    return dataset


def members(inputs: Any) -> Iterator[tuple[str, Any]]:
    """(column, content) of each item, sounds before texts where an item has both."""
    for batch in batches(inputs):
        column = "audio" if "audio" in batch else "text"
        if column not in batch:
            raise InputError(f"a batch has columns {sorted(batch)}; wanted text or audio")
        yield from ((column, member) for member in batch[column])
