"""A bulk run: read -> decode -> resample -> model -> write, each at work while the others are.

    reading threads ==groups==> the calling thread, with the model ==parts==> one writing thread

The queues between them are bounded, so memory does not grow with the corpus.

Source: own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from ...errors import HarkenError, InputError
from ..audio import Waveform
from ..durable import written_aside
from .channel import Channel, Closed
from .encoder import Encoder
from .entry import Entry
from .folder import manifest_of, output_error, refuse_foreign
from .ledger import Ledger, Part, locked
from .manifest import Manifest
from .reading import Failed, Group, read_groups
from .report import BulkReport, Progress, StageTimes
from .sinks import ERRORS, Rows, Sink, make_sink, write_errors


@dataclass(frozen=True, slots=True)
class Settings:
    """What of a run is not the sounds and not the model."""

    # "parquet" or "npy".
    format: str = "parquet"
    # "float32", "float16" or "int8".
    dtype: str = "float32"
    # Rows of the manifest a part.
    part_rows: int = 4096
    # For recipes whose audio template takes one; None: the recipe's own.
    instruction: str | None = None

    def __post_init__(self) -> None:
        make_sink(self.format, self.dtype, {})
        if self.part_rows < 1:
            raise InputError(f"part_rows is {self.part_rows}; wanted at least 1")


def run_bulk(
    inputs: Sequence[str],
    out: Path,
    make_encoder: Callable[[], Encoder],
    *,
    settings: Settings = Settings(),
    num_threads: int = 4,
    duplicates: Literal["refuse", "first"] = "refuse",
    num_first: int | None = None,
    made_with: Callable[[Any], Mapping[str, Any]] | None = None,
    verify: bool = True,
    retry_errors: bool = False,
    stop: Event | None = None,
    on_manifest: Callable[[Manifest], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BulkReport:
    """Embed all sounds of the inputs, or what of them is not done yet in `out`.

    Args:
        inputs: what `manifest.freeze` takes.
        out: folder of the run; new, empty, or of the same run.
        make_encoder: gives the model; called once the manifest stands.
        num_threads: that read and decode.
        duplicates: "refuse" inputs with two sounds of one id, or keep the "first".
        num_first: only that many sounds from the front; None: all.
        made_with: called with the model, tells how to load it again; kept beside the vectors.
        verify: compare the hashes of finished files, not only their sizes.
        retry_errors: do parts with failures anew.
        stop: once set, the part in hand is finished and the run ends.
        on_manifest, on_progress: called with the manifest, and after every group of sounds.

    Raises:
        InputError: no sound, doubled ids, a folder that another run works in or that is for something else.
        FingerprintError: the folder holds vectors of another model.
        OutputError: the folder cannot be written to. What is done is kept.
    """
    refuse_foreign(out)
    with locked(out):
        manifest = manifest_of(inputs, out, duplicates, num_first)
        if on_manifest is not None:
            on_manifest(manifest)
        encoder = make_encoder()
        told = {} if made_with is None else made_with(encoder)
        run = _Run(manifest, out, encoder, settings, num_threads, told, stop or Event(), on_progress)
        return run.run(verify=verify, retry_errors=retry_errors)


@dataclass(slots=True)
class _Finished:
    """A part whose sounds all went through the model."""

    group: Group
    rows: Rows
    failures: list[Failed]


@dataclass(slots=True)
class _Filling:
    """The part in hand."""

    rows: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)

    def finish(self, group: Group, dim: int) -> _Finished:
        stacked = np.stack(self.vectors) if self.vectors else np.zeros((0, dim), np.float32)
        return _Finished(group, Rows(self.rows, self.entries, self.durations_s, stacked), self.failures)


class _Run:
    def __init__(
        self,
        manifest: Manifest,
        out: Path,
        encoder: Encoder,
        settings: Settings,
        num_threads: int,
        made_with: Mapping[str, Any],
        stop: Event,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.manifest, self.out, self.encoder, self.settings = manifest, out, encoder, settings
        self.stop, self.on_progress, self.num_threads, self.made_with = stop, on_progress, num_threads, made_with
        self.times = StageTimes(num_threads)
        self.begin = perf_counter()

    def run(self, *, verify: bool, retry_errors: bool) -> BulkReport:
        try:
            self.ledger = Ledger(
                self.out,
                fingerprint={"id": self.encoder.fingerprint.id, **self.encoder.fingerprint.to_dict()},
                manifest={"sha256": self.manifest.sha256, "label": self.manifest.label},
                made_with=self.made_with,
                settings={name: getattr(self.settings, name) for name in Settings.__slots__},
                verify=verify,
            )
            # What the model refuses whatever the sound, such as an instruction, it refuses here.
            self.encoder.encode_clips([], instruction=self.settings.instruction)
            # As it was at the beginning, so that a part written by a later version is the same to the byte.
            told = dict(self.ledger.identity["fingerprint"])
            del told["id"]
            about = {"kind": "vectors", "version": 1, "dim": self.encoder.dim, "fingerprint": told}
            about["made_with"] = self.ledger.identity["made_with"]
            self.sink: Sink = make_sink(self.settings.format, self.settings.dtype, about)
            if retry_errors:
                self.ledger.forget([number for number, part in self.ledger.done.items() if part.num_failed])
            kept = list(self.ledger.done.values())
            self.num_done = sum(part.stop - part.start for part in kept)
            self.num_failed = sum(part.num_failed for part in kept)
            self.audio_s = sum(part.audio_s for part in kept)
            self.num_now, self.audio_now_s = 0, 0.0
            self.begin = perf_counter()
            self._work()
            return self._end(len(kept))
        except OSError as error:
            if isinstance(error, HarkenError):
                raise
            raise output_error(self.out, error) from None

    def _parts(self) -> list[tuple[int, int, int]]:
        size, total = self.settings.part_rows, self.manifest.num_rows
        return [
            (part, start, min(start + size, total))
            for part, start in enumerate(range(0, total, size))
            if part not in self.ledger.done
        ]

    def _work(self) -> None:
        groups, parts = Channel[Group](2), Channel[_Finished](2)
        reader = Thread(target=self._read, args=(groups,), name="harken-groups", daemon=True)
        writer = Thread(target=self._write, args=(parts,), name="harken-write", daemon=True)
        reader.start()
        writer.start()
        try:
            filling = _Filling()
            while not (self.stop.is_set() and not filling.rows and not filling.failures):
                group = groups.get()
                self._embed(group, filling)
                if group.last:
                    parts.put(filling.finish(group, self.encoder.dim))
                    filling = _Filling()
        except Closed:
            pass
        finally:
            groups.close(Closed())
            parts.close()
            writer.join()
            reader.join()
        if self._write_error is not None:
            raise self._write_error

    _write_error: BaseException | None = None

    def _read(self, groups: Channel[Group]) -> None:
        try:
            with closing(read_groups(self.manifest, self._parts(), self.encoder, self.num_threads)) as reading:
                for group in reading:
                    groups.put(group)
            groups.close()
        except Closed:
            return
        except BaseException as error:  # whatever it is, the thread that waits for groups has to know
            groups.close(error)

    def _write(self, parts: Channel[_Finished]) -> None:
        try:
            while True:
                finished = parts.get()
                begin = perf_counter()
                self._write_part(finished)
                self.times.add({"write": perf_counter() - begin})
        except Closed:
            return
        except BaseException as error:  # whatever it is, the thread with the model has to know
            self._write_error = error
            parts.close(error)

    def _write_part(self, finished: _Finished) -> None:
        group, rows = finished.group, finished.rows
        paths = self.sink.write(self.out, group.part, rows)
        errors = self.out / "errors" / f"part-{group.part:06d}.parquet"
        if finished.failures:
            paths.append(write_errors(errors, finished.failures))
        else:
            errors.unlink(missing_ok=True)
        self.ledger.commit(
            Part(
                group.part,
                group.start,
                group.stop,
                len(rows.rows),
                len(finished.failures),
                sum(rows.durations_s),
                dict(self.ledger.record(path) for path in paths),
            )
        )

    def _embed(self, group: Group, filling: _Filling) -> None:
        begin = perf_counter()
        clips = [sound.got for sound in group.sounds if isinstance(sound.got, Waveform)]
        vectors = iter(self._vectors(clips))
        for sound in group.sounds:
            self.times.add(sound.seconds)
            got: np.ndarray | Failed | HarkenError = sound.got if isinstance(sound.got, Failed) else next(vectors)
            if isinstance(got, HarkenError):
                got = Failed(sound.row, sound.entry, "encode", type(got).__name__, str(got))
            if isinstance(got, Failed):
                filling.failures.append(got)
                self.num_failed += 1
                continue
            assert isinstance(sound.got, Waveform)
            filling.rows.append(sound.row)
            filling.entries.append(sound.entry)
            filling.durations_s.append(sound.got.duration_s)
            filling.vectors.append(got)
            self.audio_s += sound.got.duration_s
            self.audio_now_s += sound.got.duration_s
        self.num_done += len(group.sounds)
        self.num_now += len(group.sounds)
        self.times.add({"device": perf_counter() - begin})
        if self.on_progress is not None:
            self.on_progress(self._progress())

    def _vectors(self, clips: list[Waveform]) -> list[np.ndarray | HarkenError]:
        """A vector or an error a clip; where the model refuses them together, each is tried alone."""
        if not clips:
            return []
        try:
            vectors = self.encoder.encode_clips(clips, instruction=self.settings.instruction)
        except HarkenError as error:
            if len(clips) == 1:
                return [error]
            return [got for clip in clips for got in self._vectors([clip])]
        return [
            vector if np.isfinite(vector).all() else InputError(f"{clip.name}: its vector holds NaN or infinity")
            for clip, vector in zip(clips, vectors)
        ]

    def _progress(self) -> Progress:
        return Progress(
            self.manifest.num_rows,
            self.num_done,
            self.num_failed,
            self.audio_s,
            self.num_now,
            self.audio_now_s,
            perf_counter() - self.begin,
        )

    def _end(self, num_kept: int) -> BulkReport:
        num_parts = -(-self.manifest.num_rows // self.settings.part_rows)
        kinds = self._gather_errors()
        self.ledger.tidy()
        progress = self._progress()
        return BulkReport(
            progress,
            finished=len(self.ledger.done) == num_parts,
            num_parts=num_parts,
            num_parts_kept=num_kept,
            num_parts_redone=len(self.ledger.redone),
            errors=dict(kinds.most_common()),
            stage_s=dict(self.times.seconds),
            stage_load=self.times.loads(progress.wall_s),
            limit=self.times.limit() if self.num_now else "",
        )

    def _gather_errors(self) -> Counter[str]:
        """Join the failures of all parts in errors.parquet; count them by kind."""
        kinds: Counter[str] = Counter()
        with written_aside(self.out / "errors.parquet") as aside, pq.ParquetWriter(aside, ERRORS) as writer:
            for number in sorted(self.ledger.done):
                if self.ledger.done[number].num_failed:
                    table = pq.read_table(self.out / "errors" / f"part-{number:06d}.parquet")
                    kinds.update(f"{stage} {error}" for stage, error in zip(*(table[c].to_pylist() for c in KIND)))
                    writer.write_table(table)
        return kinds


KIND = ("stage", "error")
