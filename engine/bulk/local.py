"""A bulk run in one process: read -> decode -> resample -> model -> write, each at work while the others are.

    reading threads ==groups==> the calling thread, with the model ==parts==> one writing thread

The queues between them are bounded, so memory does not grow with the corpus.

Source: own.
"""

from collections.abc import Callable
from contextlib import closing
from threading import Event, Thread
from time import perf_counter

from .calibrate import choose_readers
from .channel import Channel, Closed
from .encoder import Encoder, MadeWith, MakeEncoder, ModelInfo
from .job import Job, Slice
from .ledger import Part
from .making import Made, PartMaker
from .parts import write_part
from .reading import Group, Readers, read_groups
from .report import Tally


class LocalEngine:
    """Threads of this process around one model.

    Args:
        num_readers: threads that read and decode; None: as many as a short measurement finds enough.
        in_processes: decode in as many processes; None: where threads are measured to be in each other's way.
    """

    def __init__(self, num_readers: int | None = None, *, in_processes: bool | None = None) -> None:
        self.num_readers, self.in_processes = num_readers, in_processes

    def open(self, make_encoder: MakeEncoder, made_with: MadeWith | None, instruction: str | None) -> ModelInfo:
        self.encoder = make_encoder()
        return ModelInfo.of(self.encoder, made_with, instruction)

    def work(self, job: Job, parts: list[Slice], *, tally: Tally, commit: Callable[[Part], None], stop: Event) -> None:
        readers = choose_readers(job, parts, self.encoder, self.num_readers, self.in_processes)
        tally.times.num_readers = readers.num
        groups, made = Channel[Group](2), Channel[Made](2)
        writer = _Writer(job, made, commit, tally)
        reader = Thread(
            target=_read, args=(job, parts, self.encoder, readers, groups), name="harken-groups", daemon=True
        )
        reader.start()
        writer.start()
        maker = PartMaker(self.encoder, job.settings.instruction, tally)
        try:
            while not (stop.is_set() and maker.is_between_parts):
                finished = maker.add(groups.get())
                if finished is not None:
                    made.put(finished)
        except Closed:
            pass
        finally:
            groups.close(Closed())
            made.close()
            writer.join()
            reader.join()
        if writer.error is not None:
            raise writer.error


def _read(job: Job, parts: list[Slice], encoder: Encoder, readers: Readers, groups: Channel[Group]) -> None:
    try:
        with closing(read_groups(job.manifest, parts, encoder, readers)) as reading:
            for group in reading:
                groups.put(group)
        groups.close()
    except Closed:
        return
    except BaseException as error:  # whatever it is, the thread that waits for groups has to know
        groups.close(error)


class _Writer(Thread):
    def __init__(self, job: Job, made: Channel[Made], commit: Callable[[Part], None], tally: Tally) -> None:
        super().__init__(name="harken-write", daemon=True)
        self.job, self.made, self.commit, self.tally = job, made, commit, tally
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            sink = self.job.sink()
            while True:
                finished = self.made.get()
                begin = perf_counter()
                self.commit(write_part(self.job.out, finished, sink))
                self.tally.times.add({"write": perf_counter() - begin})
        except Closed:
            return
        except BaseException as error:  # whatever it is, the thread with the model has to know
            self.error = error
            self.made.close(error)
