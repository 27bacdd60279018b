"""A bulk run in three pictures: how long its sounds are, how fast it went, what failed.

Source: own; matplotlib.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ...errors import BackendError, FileFormatError, OutputError
from .identity import require_identity
from .ledger import finished_parts
from .log import read_log

NUM_BINS = 60


def plot_run(run: Path, out: Path) -> None:
    """Draw a run.

    Args:
        run: folder of a finished or unfinished run.
        out: picture to write; its ending decides the format.

    Raises:
        BackendError: matplotlib is not installed.
        FileFormatError: no run's folder, or nothing in it is finished.
        OutputError: the picture cannot be written.
    """
    figure_type = _figure()
    figure = figure_type(figsize=(11, 3.4), layout="constrained")
    lengths, rates, errors = figure.subplots(1, 3)
    counts, edges = lengths_of(run)
    lengths.stairs(counts, edges, fill=True)
    lengths.set(xlabel="length, s", ylabel="sounds", title=f"{int(counts.sum())} sounds", yscale="symlog")
    for hours, clips_per_s in throughput(run):
        rates.step(hours, clips_per_s, where="pre")
    rates.set(xlabel="hours of work", ylabel="sounds/s", title="throughput", ylim=(0, None))
    kinds = errors_of(run).most_common(8)
    errors.barh([kind for kind, _ in kinds], [number for _, number in kinds])
    errors.invert_yaxis()
    errors.set(xlabel="sounds", title="failures" if kinds else "no failures")
    try:
        figure.savefig(out, dpi=130)
    except (OSError, ValueError) as error:
        raise OutputError(f"{out}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def lengths_of(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Counts [b] and edges [b + 1] of the lengths in seconds of all embedded sounds; a part in memory at a time."""
    is_parquet = require_identity(run)["settings"]["format"] == "parquet"
    pattern = "vectors/part-{:06d}.parquet" if is_parquet else "metadata/metadata_{:06d}.parquet"
    paths = [run / pattern.format(part.part) for part in finished_parts(run)]
    try:
        longest = max((_durations(path).max(initial=0.0) for path in paths), default=0.0)
        edges = np.linspace(0, max(float(longest), 1e-3), NUM_BINS + 1)
        counts = np.zeros(NUM_BINS, np.int64)
        for path in paths:
            counts += np.histogram(_durations(path), edges)[0]
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{run}: a part cannot be read: {error}") from None
    return counts, edges


def throughput(run: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each time the run was at work: hours of work at which parts ended, and sounds a second since the one before."""
    stretches: list[tuple[np.ndarray, np.ndarray]] = []
    hours, rates, worked_s, last = list[float](), list[float](), 0.0, 0.0
    for line in [*read_log(run), {"event": "begin", "time": 0.0}]:
        if line["event"] == "begin":
            if hours:
                stretches.append((np.array(hours), np.array(rates)))
            hours, rates, last = [], [], line["time"]
        elif line["event"] == "part":
            passed_s = max(line["time"] - last, 1e-9)
            worked_s, last = worked_s + passed_s, line["time"]
            hours.append(worked_s / 3600)
            rates.append(line["num_rows"] / passed_s)
    return stretches


def errors_of(run: Path) -> Counter[str]:
    """Failures by stage and error."""
    counted: Counter[str] = Counter()
    for part in finished_parts(run):
        if part.num_failed:
            table = pq.read_table(run / "errors" / f"part-{part.part:06d}.parquet", columns=["stage", "error"])
            counted.update(f"{row['stage']} {row['error']}" for row in table.to_pylist())
    return counted


def _durations(path: Path) -> np.ndarray:
    return pq.read_table(path, columns=["duration_s"], partitioning=None)["duration_s"].to_numpy()


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError(f"plots want matplotlib: {error}; pip install 'harken[plot]'") from None
    return Figure
