"""What a corpus costs: from a rate on one GPU to hours, GPU-hours, bytes stored and read, cores that decode.

    hours        = N / (3600 r G)            GPU-hours = N / (3600 r)
    store        = N b_store                 read      = N b_read
    network      = r G b_read  bytes/s       cores     = r G c
    N sounds, G GPUs, r sounds/s of one GPU, b bytes a sound, c CPU seconds a sound to read, decode and resample

Where the network or the cores give less than r G, they are the limit, and hours follow from them instead.
It is a plan from the figures put in, whether a run's or the reader's own; it measures nothing.

Source: own.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ...errors import FileFormatError, InputError
from .identity import require_identity
from .ledger import finished_parts
from .log import read_log
from .manifest import NAME as MANIFEST
from .manifest import Manifest
from .report import READING


@dataclass(frozen=True, slots=True)
class Rates:
    """What one sound costs on one GPU. None: not known, and nothing that follows from it is told."""

    # r; sounds a second of one GPU.
    clips_per_s: float
    # b_store and b_read.
    store_bytes: float | None = None
    read_bytes: float | None = None
    # c.
    cpu_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; wanted more than 0")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a corpus costs."""

    num_clips: int
    num_gpus: int
    hours: float
    gpu_hours: float
    # "device", "network" or "cores".
    limit: str
    store_bytes: float | None
    read_bytes: float | None
    # At full rate of all GPUs.
    network_bytes_per_s: float | None
    num_cores: float | None


def cost(
    rates: Rates,
    num_clips: int,
    *,
    num_gpus: int = 1,
    max_network_bytes_per_s: float | None = None,
    max_cores: int | None = None,
) -> Cost:
    """The cost of a corpus at given rates.

    Args:
        rates: of one sound on one GPU.
        num_clips: sounds of the corpus.
        num_gpus: at work side by side.
        max_network_bytes_per_s, max_cores: what all machines have together; None: enough.

    Raises:
        InputError: a count below 1, or a bound without the figure it bounds.
    """
    if num_clips < 1 or num_gpus < 1:
        raise InputError(f"got {num_clips} sounds and {num_gpus} GPUs; wanted at least 1 of each")
    reachable = {"device": rates.clips_per_s * num_gpus}
    for name, most, each, what in (
        ("network", max_network_bytes_per_s, rates.read_bytes, "bytes a sound"),
        ("cores", max_cores, rates.cpu_s, "CPU seconds a sound"),
    ):
        if most is not None:
            if each is None or most <= 0:
                raise InputError(f"a bound of {most} for {name} wants {what}, and more than 0")
            reachable[name] = most / each
    limit = min(reachable, key=lambda name: reachable[name])
    hours = num_clips / reachable[limit] / 3600
    times = lambda factor, each: None if each is None else factor * each
    return Cost(
        num_clips,
        num_gpus,
        hours,
        hours * num_gpus,
        limit,
        times(num_clips, rates.store_bytes),
        times(num_clips, rates.read_bytes),
        times(rates.clips_per_s * num_gpus, rates.read_bytes),
        times(rates.clips_per_s * num_gpus, rates.cpu_s),
    )


def rates_of(run: Path) -> tuple[Rates, dict[str, Any]]:
    """The rates that a run was measured at, and what else its log tells of it.

    Raises:
        FileFormatError: no run's folder, or its log holds no end of a run that did something.
    """
    require_identity(run)
    parts = finished_parts(run)
    ends = [line for line in read_log(run) if line["event"] == "end" and line.get("num_now")]
    if not ends:
        raise FileFormatError(f"{run}: its log tells of no run that went to its end; give rates instead")
    end = max(ends, key=lambda line: line["num_now"])
    manifest = Manifest.open(run / MANIFEST)
    sizes = [record.size_bytes for part in parts for record in part.files.values()]
    num_ok = sum(part.num_ok for part in parts)
    rates = Rates(
        clips_per_s=end["clips_per_s"] / end["num_models"],
        store_bytes=sum(sizes) / num_ok if num_ok else None,
        read_bytes=_mean_bytes(manifest),
        cpu_s=sum(end["stage_s"][stage] for stage in READING) / end["num_now"] or None,
    )
    told = {name: end[name] for name in ("num_now", "audio_now_s", "wall_s", "limit", "num_models", "device")}
    return rates, told


def _mean_bytes(manifest: Manifest) -> float | None:
    """Bytes a sound, of the sounds whose size is known."""
    sizes = pq.read_table(manifest.path, columns=["size_bytes"])["size_bytes"].drop_null()
    return None if not len(sizes) or not manifest.num_bytes else manifest.num_bytes / len(sizes)
