"""A found sound as a file that a player can open.

Source: own.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from ...errors import AudioError
from ..audio import decode_part
from . import files
from .entry import Entry
from .fetch import ParquetSounds, fetch
from .tar import sounds_in_tar


def playable(found: Mapping[str, Any], folder: Path) -> str:
    """The path of a sound; what is no whole local file is written to `folder` as WAV first.

    Args:
        found: a row of an index: "id", and from bulk runs "uri", "member", "source_row", "start_s", "end_s".

    Raises:
        AudioError: it cannot be read, or is no file.
    """
    entry = Entry(
        found["id"],
        found.get("uri") or found["id"],
        member=found.get("member"),
        row=found.get("source_row"),
        start_s=found.get("start_s"),
        end_s=found.get("end_s"),
    )
    whole = entry.member is None and entry.row is None and entry.start_s is None and entry.end_s is None
    if whole and not files.is_remote(entry.uri):
        path = files.local(entry.uri)
        if not os.path.isfile(path):
            raise AudioError(f"{entry.name}: there is no such file")
        return os.path.abspath(path)
    if entry.member is not None:
        entry = _in_tar(entry)
    sound = decode_part(fetch(entry, ParquetSounds()), entry.name, start_s=entry.start_s, end_s=entry.end_s)
    name = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in entry.id)[-100:]
    # Two ids may read alike once they are file names, and two indexes may share ids.
    digest = hashlib.blake2b(repr(entry).encode(), digest_size=4).hexdigest()
    place = folder.absolute() / f"{name}.{digest}.wav"
    place.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(place, sound.samples, sound.sample_rate_hz)
    return str(place)


def _in_tar(wanted: Entry) -> Entry:
    try:
        with files.open_file(wanted.uri) as file:
            for entry in sounds_in_tar(file, wanted.uri):
                if entry.member == wanted.member:
                    return Entry(
                        wanted.id,
                        entry.uri,
                        entry.member,
                        entry.offset_bytes,
                        size_bytes=entry.size_bytes,
                        start_s=wanted.start_s,
                        end_s=wanted.end_s,
                    )
    except OSError as error:
        raise AudioError(f"{wanted.name}: cannot be read: {error.strerror or error}") from None
    raise AudioError(f"{wanted.name}: is not in the tar any more")
