"""Clips with captions from a folder's `manifest.jsonl`, one clip a line.

A line holds at least id, path (relative to the folder), caption and split; captions, tags, group, origin and licence are
read where they are. A line that cannot be used is a problem that is counted and listed, never a silent clip.

Source: own.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """One sound and what is said of it."""

    id: str
    path: Path
    caption: str
    # All captions, `caption` first.
    captions: tuple[str, ...]
    tags: tuple[str, ...]
    group: str
    split: str


@dataclass(slots=True)
class Dataset:
    """The clips of a manifest and the lines that gave none."""

    clips: list[Clip]
    # "manifest.jsonl:12: what is wrong"
    problems: list[str] = field(default_factory=list)

    def split(self, name: str) -> list[Clip]:
        if name not in SPLITS:
            raise InputError(f"split is {name!r}, wanted one of {SPLITS}")
        return [clip for clip in self.clips if clip.split == name]


def load_manifest(folder: str | Path) -> Dataset:
    """Read `manifest.jsonl` in `folder`.

    Raises:
        InputError: there is no manifest, or no line of it can be used.
    """
    path = Path(folder) / "manifest.jsonl"
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    dataset = Dataset([])
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            clip = _clip(json.loads(line), Path(folder))
            if clip.id in seen:
                raise ValueError(f"the id {clip.id!r} is there twice")
        except ValueError as error:
            dataset.problems.append(f"{path.name}:{number}: {error}")
            continue
        seen.add(clip.id)
        dataset.clips.append(clip)
    if not dataset.clips:
        raise InputError(f"{path}: not one of {len(lines)} lines can be used; the first: {dataset.problems[:1]}")
    return dataset


def _clip(row: Any, folder: Path) -> Clip:
    if not isinstance(row, dict):
        raise ValueError(f"wanted an object, got {type(row).__name__}")
    for key in ("id", "path", "caption", "split"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ValueError(f"{key} is {row.get(key)!r}, wanted a string that is not empty")
    if row["split"] not in SPLITS:
        raise ValueError(f"split is {row['split']!r}, wanted one of {SPLITS}")
    path = folder / row["path"]
    if not path.is_file():
        raise ValueError(f"there is no file {row['path']}")
    captions = tuple(dict.fromkeys([row["caption"], *row.get("captions", [])]))
    return Clip(
        row["id"], path, row["caption"], captions, tuple(row.get("tags", ())), row.get("group", ""), row["split"]
    )
