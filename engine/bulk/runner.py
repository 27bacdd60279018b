"""A bulk run from beginning to end: the folder, the manifest, the model, the parts that are missing, the report.

Source: own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Literal

from ...errors import HarkenError
from . import identity
from .encoder import MadeWith, MakeEncoder
from .folder import manifest_of, output_error, refuse_foreign
from .job import Engine, Job
from .ledger import Ledger, Part
from .local import LocalEngine
from .lock import locked
from .log import note
from .manifest import Manifest
from .parts import gather_errors
from .report import BulkReport, Progress, Tally
from .settings import Settings


def run_bulk(
    inputs: Sequence[str],
    out: Path,
    make_encoder: MakeEncoder,
    *,
    settings: Settings | None = None,
    engine: Engine | None = None,
    duplicates: Literal["refuse", "first"] = "refuse",
    num_first: int | None = None,
    made_with: MadeWith | None = None,
    verify: bool = True,
    retry_errors: bool = False,
    stop: Event | None = None,
    on_manifest: Callable[[Manifest], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BulkReport:
    """Embed all sounds of the inputs, or what of them is not done yet in `out`.

    Args:
        inputs: what `freeze` takes.
        out: folder of the run; new, empty, or of the same run.
        make_encoder: gives the model; called once the manifest stands.
        settings: format, dtype, size of a part; None: as Settings().
        engine: who does the work; None: threads of this process.
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
    settings, engine = settings or Settings(), engine or LocalEngine()
    refuse_foreign(out)
    with locked(out):
        manifest = manifest_of(inputs, out, duplicates, num_first)
        if on_manifest is not None:
            on_manifest(manifest)
        model = engine.open(make_encoder, made_with, settings.instruction)
        try:
            known = identity.claim(
                out,
                fingerprint=model.fingerprint,
                manifest={"sha256": manifest.sha256, "label": manifest.label},
                settings=settings.to_dict(),
                made_with=model.made_with,
            )
            # As it was at the beginning, so that a part written by a later version is the same to the byte.
            told = {name: value for name, value in known["fingerprint"].items() if name != "id"}
            kind = "audio tokens" if settings.format == "tokens" else "vectors"
            about = {"kind": kind, "version": 1, "dim": model.dim, "fingerprint": told}
            about["made_with"] = known["made_with"]
            ledger = Ledger(out, verify=verify)
            if retry_errors:
                ledger.forget([number for number, part in ledger.done.items() if part.num_failed])
            job = Job(manifest, out, settings, model, about)
            return _work(job, ledger, engine, stop or Event(), on_progress)
        except OSError as error:
            if isinstance(error, HarkenError):
                raise
            raise output_error(out, error) from None


def _work(
    job: Job, ledger: Ledger, engine: Engine, stop: Event, on_progress: Callable[[Progress], None] | None
) -> BulkReport:
    kept = list(ledger.done.values())
    tally = Tally(
        job.manifest.num_rows,
        sum(part.stop - part.start for part in kept),
        sum(part.num_failed for part in kept),
        sum(part.audio_s for part in kept),
        on_progress,
    )
    one_at_a_time = Lock()

    def commit(part: Part) -> None:
        with one_at_a_time:
            ledger.commit(part)
            note(job.out, "part", part=part.part, num_rows=part.stop - part.start)

    missing = job.missing(ledger.done)
    if missing:
        note(job.out, "begin")
        engine.work(job, missing, tally=tally, commit=commit, stop=stop)
    kinds = gather_errors(job.out, [ledger.done[number] for number in sorted(ledger.done)])
    ledger.tidy()
    progress, times = tally.progress(), tally.times
    report = BulkReport(
        progress,
        finished=len(ledger.done) == job.num_parts,
        num_parts=job.num_parts,
        num_parts_kept=len(kept),
        num_parts_redone=len(ledger.redone),
        errors=dict(kinds.most_common()),
        stage_s=dict(times.seconds),
        stage_load=times.loads(progress.wall_s),
        limit=times.limit() if progress.num_now else "",
        num_readers=times.num_readers,
        num_models=times.num_models,
    )
    if missing:
        note(job.out, "end", device=job.model.device, **report.to_dict())
    return report
