"""Tiny shards: tars as WebDataset has them, Parquet files with sounds, folders and lists; sound i is "Sound i" everywhere."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from ... import tiny


def sound_bytes(number: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tiny.wave(4000 + 300 * number, number), 16000, format="FLAC")
    return out.getvalue()


def fields(number: int) -> dict[str, object]:
    return {"caption_long": f"Sound {number}", "caption_short": f"s {number}", "tags": ["t", str(number % 3)]}


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_tar(path: Path, numbers, *, sidecar: str = ".json") -> Path:
    with tarfile.open(path, "w") as tar:
        for i in numbers:
            text = json.dumps(fields(i)) if sidecar == ".json" else f"Sound {i}\nNoise {i}\n"
            add(tar, f"k{i}.flac", sound_bytes(i))
            add(tar, f"k{i}{sidecar}", text.encode())
    return path


def write_parquet(path: Path, numbers, group: int = 4) -> Path:
    sounds = [{"bytes": sound_bytes(i), "path": f"{i}.flac"} for i in numbers]
    columns = {name: [fields(i)[name] for i in numbers] for name in ("caption_long", "caption_short", "tags")}
    table = pa.table({"id": [f"p{i}" for i in numbers], "audio": sounds, **columns})
    pq.write_table(table, path, row_group_size=group)
    return path


def write_folder(path: Path, numbers) -> Path:
    (path / "in").mkdir(parents=True)
    for i in numbers:
        (path / "in" / f"{i}.flac").write_bytes(sound_bytes(i))
        (path / "in" / f"{i}.txt").write_text(f"Sound {i}")
    return path


def write_list(path: Path, numbers) -> Path:
    for i in numbers:
        (path.parent / f"{i}.flac").write_bytes(sound_bytes(i))
    lines = [dict(path=f"{i}.flac", captions=[f"Sound {i}"], split="validation" if i % 2 else "train") for i in numbers]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
