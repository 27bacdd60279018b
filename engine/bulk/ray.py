"""A bulk run on a Ray cluster: one row of a Ray Data pipeline is one part, a pool of actors each holds a model.

    parts -> map_batches(Worker, actor pool) -> ledger lines -> this process, which alone writes the ledger

An actor reads, decodes, embeds and writes a whole part, so no sound goes through the object store. Each attempt at a part
writes to a folder of its own and renames: a worker that is killed, or tried twice, leaves nothing half done, and the files
are those of a local run to the byte. Inputs, the run's folder and the checkpoint must be at the same paths on all nodes.

Source: own; Ray Data's `map_batches` with `ActorPoolStrategy`.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from threading import Event
from time import perf_counter
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from ...errors import BackendError, HarkenError, InputError
from . import files
from .encoder import MadeWith, MakeEncoder, ModelInfo
from .job import Job, Slice
from .ledger import Part, remove_leftovers
from .making import PartMaker
from .parts import write_part_aside
from .reading import Readers, read_groups
from .report import Tally

# There while a run is to end: actors then pass by the parts they have not begun.
STOP = "stop"
# How often a part is tried again whose worker died: a sound that kills its decoder must not do so for ever.
NUM_RETRIES = 3


class RayEngine:
    """Actors on a cluster.

    Args:
        address: of the cluster: "auto" finds the one this machine belongs to; None starts one in this process.
        num_actors: how many models; None: as many as the cluster has room for.
        gpus, cpus: of each actor; `cpus` is also how many threads read for it.
    """

    def __init__(
        self, address: str | None = "auto", *, num_actors: int | None = None, gpus: float = 0.0, cpus: int = 1
    ) -> None:
        self.address, self.num_actors, self.gpus, self.cpus = address, num_actors, gpus, cpus

    def open(self, make_encoder: MakeEncoder, made_with: MadeWith | None, instruction: str | None) -> ModelInfo:
        ray = _ray()
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
            except ConnectionError as error:
                raise BackendError(f"no Ray cluster at {self.address!r}: {str(error).splitlines()[0]}") from None
        self._actors_in(ray.cluster_resources())
        self.make_encoder = make_encoder
        # This machine may have no GPU: what the model is, is asked of one that has.
        probe = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_calls=1)(_describe)
        with _own_errors(ray):
            return ray.get(probe.remote(os.getcwd(), make_encoder, made_with, instruction))

    def work(self, job: Job, parts: list[Slice], *, tally: Tally, commit: Callable[[Part], None], stop: Event) -> None:
        ray = _ray()
        from ray.data import ActorPoolStrategy, DataContext

        DataContext.get_current().enable_progress_bars = False
        num_actors = min(self._actors_in(ray.cluster_resources()), len(parts))
        tally.times.num_readers, tally.times.num_models = self.cpus * num_actors, num_actors
        flag = job.out / STOP
        flag.unlink(missing_ok=True)
        # One part a task, so that no more than one is lost with a worker.
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)
            results = (
                ray.data.from_items([part._asdict() for part in parts], override_num_blocks=len(parts))
                .map_batches(
                    Worker,
                    fn_constructor_args=(os.getcwd(), job, self.make_encoder, self.cpus),
                    batch_size=1,
                    compute=ActorPoolStrategy(size=num_actors, max_tasks_in_flight_per_actor=2),
                    num_cpus=self.cpus,
                    num_gpus=self.gpus or None,
                    # The newest Ray warns of it and offers no other way yet to bound the attempts.
                    ray_remote_args_fn=partial(
                        dict, max_restarts=NUM_RETRIES * num_actors, max_task_retries=NUM_RETRIES
                    ),
                )
                .iter_rows()
            )
        with _own_errors(ray):
            for row in results:
                if stop.is_set():
                    flag.touch()
                if not row["line"]:
                    continue
                part = Part.from_line(row["line"])
                commit(part)
                tally.add(part.stop - part.start, part.num_failed, part.audio_s, json.loads(row["seconds"]))
        flag.unlink(missing_ok=True)
        remove_leftovers(job.out)

    def _actors_in(self, there: dict[str, float]) -> int:
        """How many actors there will be; an actor that found no room would be waited for without end."""
        wanted = {name: each for name, each in (("CPU", float(self.cpus)), ("GPU", self.gpus)) if each}
        for name, each in wanted.items():
            if each * (self.num_actors or 1) > there.get(name, 0.0):
                raise InputError(
                    f"{self.num_actors or 1} actors want {each:g} {name} each; the cluster has {there.get(name, 0.0):g}"
                )
        return self.num_actors or int(min(there[name] // each for name, each in wanted.items()))


class Worker:
    """An actor: a model, and the parts it is given. Called with a batch {"part", "start", "stop"}."""

    def __init__(self, folder: str, job: Job, make_encoder: MakeEncoder, num_threads: int) -> None:
        _enter(folder, must=not _is_absolute(job))
        self.job, self.num_threads = job, num_threads
        self.encoder = make_encoder()
        job.model.require(self.encoder, "a worker of the cluster")
        self.sink = job.sink()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        slices = [Slice(int(p), int(a), int(b)) for p, a, b in zip(batch["part"], batch["start"], batch["stop"])]
        done = [self._do(one) for one in slices if not (self.job.out / STOP).exists()]
        lines = [*done, *[("", "{}")] * (len(slices) - len(done))]
        return {"line": [line for line, _ in lines], "seconds": [seconds for _, seconds in lines]}

    def _do(self, one: Slice) -> tuple[str, str]:
        """A part's ledger line, and the seconds its stages took."""
        tally = Tally(self.job.manifest.num_rows)
        maker = PartMaker(self.encoder, self.job.settings.instruction, tally)
        with closing(read_groups(self.job.manifest, [one], self.encoder, Readers(self.num_threads))) as groups:
            made = next(made for group in groups if (made := maker.add(group)) is not None)
        begin = perf_counter()
        line = write_part_aside(self.job.out, made, self.sink).line()
        tally.times.add({"write": perf_counter() - begin})
        return line, json.dumps(tally.times.seconds)


def _describe(folder: str, make_encoder: MakeEncoder, made_with: MadeWith | None, instruction: str | None) -> ModelInfo:
    _enter(folder, must=False)
    return ModelInfo.of(make_encoder(), made_with, instruction)


def _is_absolute(job: Job) -> bool:
    names = [files.local(name) for name in job.manifest.inputs["names"] if not files.is_remote(name)]
    return job.out.is_absolute() and all(map(os.path.isabs, names))


def _enter(folder: str, *, must: bool) -> None:
    """Go where the run was started: relative paths mean there what they mean here."""
    try:
        os.chdir(folder)
    except OSError as error:
        if must:
            raise InputError(f"{folder}: is not on every node ({error.strerror}); wanted absolute paths") from None


@contextmanager
def _own_errors(ray: Any) -> Iterator[None]:
    """What a worker raised on purpose is raised here as it was; all else is the cluster's fault, in a line."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, HarkenError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            raise cause from None
        last = str(error).strip().splitlines()[-1]
        raise BackendError(f"the cluster gave up; what is done is kept, start again: {last}") from None


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(f"the engine ray wants Ray Data: {error}; pip install 'harken[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
