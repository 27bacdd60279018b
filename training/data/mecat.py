"""Adapter of MECAT-Caption: a folder, or a tar, of pairs NAME.json and NAME.flac; or one file of all records.

Six kinds of captions. `long` and `short` are the row's own; speech, music, sound and environment stand in its metadata,
where "None ..." says that there is none.

Source: the dataset's published shards.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import FileFormatError, InputError
from .adapter import Adapter, Context
from .record import Record, RecordError, youtube_id
from .row import Row
from .table import Fields, read_records

ASPECTS = ("speech", "music", "sound", "environment")
# Where `_records` puts what stands in the name and the neighbours of a record.
NAME, SOUND = "__name__", "__sound__"


def _read(record: Record, context: Context) -> Row:
    name = record.text(NAME, "id", "audio_id", "key")
    audio = record.fields.get(SOUND) or context.sounds.find([name], "id")
    if audio is None and SOUND in record.fields:
        raise RecordError("audio", f"there is no {name}.flac beside {name}.json")
    video = youtube_id(name)
    return Row(
        name,
        audio,
        long=record.texts("long"),
        short=record.texts("short"),
        source="MECAT",
        split=context.split or "test",
        origins=() if video is None else (f"youtube:{video}",),
        metadata={**record.rest(*ASPECTS, "domain")},
    )


def _records(path: Path) -> Iterator[tuple[int, Fields]]:
    if path.is_dir():
        return _of_folder(path)
    if path.name.endswith((".tar", ".tar.gz", ".tgz")):
        return _of_tar(path)
    return read_records(path)


def _of_folder(folder: Path) -> Iterator[tuple[int, Fields]]:
    for number, path in enumerate(sorted(folder.rglob("*.json")), 1):
        sound = path.with_suffix(".flac")
        fields = _parsed(path.read_bytes(), str(path))
        yield number, {NAME: path.stem, SOUND: sound if sound.is_file() else None, **fields}


def _of_tar(path: Path) -> Iterator[tuple[int, Fields]]:
    """A shard holds some hundred megabytes; its sounds come as bytes."""
    pairs: dict[str, dict[str, bytes]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                stem, _, ending = member.name.rpartition(".")
                file = tar.extractfile(member) if ending in ("json", "flac") else None
                if file is not None:
                    pairs.setdefault(stem, {})[ending] = file.read()
    except (tarfile.TarError, EOFError) as error:
        raise FileFormatError(f"{path}: is no tar that can be read: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    for number, (stem, pair) in enumerate(pairs.items(), 1):
        fields = _parsed(pair["json"], f"{path}:{stem}.json") if "json" in pair else {}
        yield number, {NAME: stem.rsplit("/", 1)[-1], SOUND: pair.get("flac"), **fields}


def _parsed(data: bytes, where: str) -> Fields:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise FileFormatError(f"{where}: is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise FileFormatError(f"{where}: is a {type(fields).__name__}; wanted an object")
    return fields


MECAT = Adapter(
    "mecat",
    "folder or tar of NAME.json + NAME.flac (long, short, speech, music, sound, environment: 3 each)",
    _read,
    licence="captions: CC BY 3.0",
    records=_records,
)
