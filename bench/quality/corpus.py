"""The published files of a dataset, found in a folder and read into what a protocol is run on.

Reading has two steps: the annotation alone, where any wrong record is an error, then the sounds, of which some may be
missing if the caller allows it.

Source: own; readers in training/data.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...engine.durable import sha256_of
from ...errors import InputError
from ...training.data import Row, Rows, load_manifest, read_dataset
from ...training.data.record import spoken
from .benchmarks import BENCHMARKS, Benchmark


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows that are evaluated, and what is known of the files they came from."""

    benchmark: Benchmark
    rows: list[Row]
    annotation: Path
    # sha256 of the annotation file, or of the names and sizes of its files if it is a folder.
    annotation_sha256: str
    # One line for each clip whose sound is not there.
    missing: list[str]

    def captions(self, row: Row) -> tuple[str, ...]:
        """The captions of a row that the protocol uses, in the order of the file."""
        return row.short if self.benchmark.captions == "short" else row.captions

    def facts(self) -> dict[str, Any]:
        return {
            "dataset": self.benchmark.name,
            "annotation": self.annotation.name,
            "annotation_sha256": self.annotation_sha256,
            "clips": len(self.rows),
            "clips_published": self.benchmark.published_clips,
            "clips_missing": len(self.missing),
        }


def read_corpus(
    name: str,
    folder: Path,
    *,
    annotation: Path | None = None,
    audio_dir: Path | None = None,
    split: str | None = None,
    allow_missing: bool = False,
) -> Corpus:
    """Find and read a dataset.

    Args:
        name: a key of BENCHMARKS.
        folder: where its published files are.
        annotation, audio_dir: in place of those found by their published names.
        split: in place of the benchmark's own.
        allow_missing: clips whose sound is not there are left out and listed.

    Raises:
        InputError: no such benchmark, no annotation file, a wrong record (file, record and column are named), or a missing
            sound without `allow_missing`.
    """
    if name not in BENCHMARKS:
        raise InputError(f"benchmark is {name!r}; wanted one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; wanted the published files of {name}")
    path = annotation or _found(benchmark, folder)
    if benchmark.reader == "":
        return Corpus(benchmark, *_own(folder, split or "test", allow_missing))
    sounds = None if benchmark.sounds_beside else audio_dir or _audio_dir(benchmark, folder, path)
    wanted = split or benchmark.split
    if benchmark.sounds_beside:
        read = read_dataset(benchmark.reader, path, None, wanted, strict=not allow_missing, **benchmark.options)
        rows, missing = read.rows, read.problems
    else:
        told = read_dataset(benchmark.reader, path, None, wanted, **benchmark.options)
        found = read_dataset(benchmark.reader, path, sounds, wanted, strict=False, **benchmark.options)
        rows, missing = found.rows, _missing(told, found)
    if missing and not allow_missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(missing) + len(rows)} sounds are not there; the first: {missing[0]}; "
            "--allow-missing evaluates the others and says so"
        )
    corpus = Corpus(benchmark, rows, path, _sha256(path), missing)
    if benchmark.captions == "short" and (without := [row.id for row in rows if not row.short]):
        raise InputError(f"{name}: {path}: {without[0]} has no short caption; the protocol uses the short ones")
    return corpus


def read_triplet_corpus(path: Path) -> Corpus:
    """A file of instruction triplets as a corpus without rows; the protocol reads it.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; wanted a JSON lines file of triplets")
    return Corpus(Benchmark("triplets", "", "triplets", (), ()), [], path, _sha256(path), [])


def _missing(told: Rows, found: Rows) -> list[str]:
    there = {row.id for row in found.rows}
    return [f"{row.id}: {_why(row.id, found.problems)}" for row in told.rows if row.id not in there]


def _why(row_id: str, problems: list[str]) -> str:
    stem = row_id.rsplit(".", 1)[0]
    return next((problem for problem in problems if stem in problem), "there is no such sound")


def _own(folder: Path, split: str, allow_missing: bool) -> tuple[list[Row], Path, str, list[str]]:
    path = folder / "manifest.jsonl"
    read = load_manifest(folder)
    if read.problems and not allow_missing:
        raise InputError(f"{path}: {len(read.problems)} lines cannot be used, the first: {read.problems[0]}")
    if not (clips := read.split(split)):
        raise InputError(f"{path}: no line is of the split {split!r}")
    rows = [
        Row(
            clip.id,
            clip.path,
            long=clip.captions,
            tags=clip.tags,
            labels=(spoken(clip.group),) if clip.group else (),
            split=clip.split,
        )
        for clip in clips
    ]
    return rows, path, _sha256(path), read.problems


def _found(benchmark: Benchmark, folder: Path) -> Path:
    for pattern in benchmark.annotations:
        if matches := sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            return matches[0]
    raise InputError(
        f"{folder}: holds no annotation file of {benchmark.name}; looked for {', '.join(benchmark.annotations)}; "
        "name it with --annotation"
    )


def _audio_dir(benchmark: Benchmark, folder: Path, annotation: Path) -> Path:
    places = [base / name for base in (folder, annotation.parent) for name in benchmark.audio_dirs]
    return next(place for place in [*places, folder] if place.is_dir())


def _sha256(path: Path) -> str:
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256("\n".join(f"{p.relative_to(path)} {p.stat().st_size}" for p in files).encode()).hexdigest()
