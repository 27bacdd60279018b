"""Folders of small sounds, and the ways in which a sound file can be broken."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from ..audio.sounds import encoded, wav_header


def tone(i: int, rate: int = 16000) -> np.ndarray:
    """[n] float32, another length and pitch for every i."""
    n = 800 + 160 * (i % 7)
    return (0.3 * np.sin(2 * np.pi * (200 + 17 * i) * np.arange(n) / rate)).astype(np.float32)


def tone_file(i: int) -> bytes:
    return encoded(tone(i), 16000 if i % 3 else 22050, "FLAC" if i % 2 else "WAV")


def fill(folder: Path, num_sounds: int) -> Path:
    """Write sounds into two subfolders."""
    for i in range(num_sounds):
        path = folder / ("b" if i % 2 else "a") / f"{i:05d}.{'flac' if i % 2 else 'wav'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tone_file(i))
    return folder


def write_tar(path: Path, num_sounds: int, first: int = 0) -> Path:
    """A WebDataset tar: sound and JSON beside each other."""
    with tarfile.open(path, "w") as tar:
        for i in range(first, first + num_sounds):
            for name, data in ((f"{i:05d}.wav", tone_file(2 * i)), (f"{i:05d}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def write_parquet(path: Path, num_sounds: int) -> Path:
    """A table with an Audio column as Hugging Face datasets writes it."""
    sounds = [{"bytes": tone_file(i), "path": f"{i}.wav"} for i in range(num_sounds)]
    table = pa.table({"audio": pa.array(sounds, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    pq.write_table(table, path, row_group_size=4)
    return path


def break_twelve_ways(folder: Path) -> dict[str, str]:
    """Write twelve files that cannot be embedded; gives the stage each fails in."""
    folder.mkdir(parents=True, exist_ok=True)
    good = encoded(tone(1))
    nan = np.full(1600, np.nan, np.float32)
    deep = folder.joinpath(*["d" * 100] * 3)
    deep.mkdir(parents=True)
    contents = {
        "truncated.wav": good[: len(good) // 2],
        "header.wav": b"RIFX" + good[4:],
        "empty.wav": b"",
        "text.wav": b"this is no sound at all, it is text\n",
        "no_rate.wav": wav_header(0, 1, bytes(320)),
        "ten_hours.wav": wav_header(16000, 1, b"", declared=2 * 16000 * 36000),
        "64_channels.wav": good[:22] + b"\x40" + good[23:],
        "odd_bytes.ogg": encoded(tone(3), format="OGG", subtype="VORBIS")[:150],
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (deep / "deep.wav").write_bytes(b"\0" * 64)
    soundfile.write(folder / "nan.wav", nan, 16000, subtype="FLOAT")
    os.mkfifo(folder / "pipe.wav")
    os.symlink(folder / "gone", folder / "vanished.wav")
    stages = dict.fromkeys(
        [*contents, deep.relative_to(folder).as_posix() + "/deep.wav", "nan.wav", "pipe.wav"], "decode"
    )
    return {**stages, "vanished.wav": "read"}
