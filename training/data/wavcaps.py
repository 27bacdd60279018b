"""Adapter of WavCaps: one JSON a source, weak captions of some 400,000 clips.

    val:  first 8 bytes of md5("{source}_{id}_1337") / 2^64 < 0.01       (OEA's split; WavCaps publishes none)

Source: WavCaps' published files; OEA's training code for the split and the longest clip it takes.
"""

import hashlib
from pathlib import Path

from ...errors import InputError
from .adapter import Adapter, Context
from .record import Record, file_origin, youtube_origin
from .row import Row

# Words of a path, each with the source it means.
SOURCES = {
    "sb_final": "SoundBible", "soundbible": "SoundBible",
    "fsd_final": "FreeSound", "freesound": "FreeSound",
    "bbc_final": "BBC_Sound_Effects", "bbc": "BBC_Sound_Effects",
    "as_final": "AudioSet_SL", "audioset": "AudioSet_SL",
}  # fmt: skip


def _read(record: Record, context: Context) -> Row | None:
    source = context.options["source"] or source_of(context.path)
    name, duration_s = record.text("id"), record.number_of("duration")
    max_s = context.options["max_s"]
    if max_s is not None and not 0 < duration_s < max_s:
        return None
    caption = record.text("caption")
    return Row(
        f"{source}/{name}",
        context.sounds.find([name, f"{source}/{name}"], "id"),
        long=(caption,),
        source=f"WavCaps {source}",
        split="val" if is_val(source, name, context.options["val_share"], context.options["seed"]) else "train",
        origins=_origins(record, source, name),
        duration_s=duration_s,
        metadata=record.rest("title", "description", "author", "href", "tags", "category"),
    )


def _origins(record: Record, source: str, name: str) -> tuple[str, ...]:
    if source == "AudioSet_SL":
        return youtube_origin(name, "id")
    if source == "FreeSound":
        files = record.optional("file_name", "title")
        return (f"freesound:{name}",) if files is None else (f"freesound:{name}", file_origin(files))
    return (f"{source.lower()}:{name}",)


def source_of(path: Path) -> str:
    """The source that a file's name, or else its folder's, speaks of.

    Raises:
        InputError: neither does.
    """
    for part in (path.stem, path.parent.name):
        for word, source in SOURCES.items():
            if word in part.lower():
                return source
    known = ", ".join(dict.fromkeys(SOURCES.values()))
    raise InputError(f"wavcaps: {path}: its name tells no source; give the option source, one of {known}")


def is_val(source: str, name: str, share: float, seed: int) -> bool:
    """Whether a clip is of the validation split."""
    digest = hashlib.md5(f"{source}_{name}_{seed}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


WAVCAPS = Adapter(
    "wavcaps",
    "JSON of one source (id, caption, duration, ...); options source, max_s (OEA: 31), val_share, seed",
    _read,
    licence="academic use only",
    options={"source": None, "max_s": None, "val_share": 0.01, "seed": 1337},
)
