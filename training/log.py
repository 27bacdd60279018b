"""A run's log: JSON lines, TensorBoard, a progress bar on a terminal. The first process alone writes.

Source: own.
"""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from . import parallel

_IN_BAR = ("loss", "tau", "samples_per_s")


class Log:
    """Open while a run goes; a resumed run's lines behind its checkpoint are dropped, because they come again.

    Args:
        folder: of the run.
        num_steps: of the whole run.
        done: steps of its checkpoint.
        tensorboard: also write event files, where the package is installed.
    """

    def __init__(self, folder: Path, num_steps: int, done: int, *, tensorboard: bool) -> None:
        self._path, self._num_steps, self._done = folder / "log.jsonl", num_steps, done
        self._writes = parallel.is_first()
        self._tensorboard = _summary_writer(folder) if tensorboard and self._writes else None
        self._bar: Any = None
        self._recall = ""

    def __enter__(self) -> "Log":
        if not self._writes:
            return self
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self._done]
        self._path.write_text("".join(line + "\n" for line in kept))
        if sys.stderr.isatty():
            self._bar = _progress_bar(self._num_steps, self._done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def step(self, step: int, values: dict[str, float]) -> None:
        """A step's loss and what goes with it."""
        self._write(step, values, "train")
        if self._bar is not None:
            told = " ".join(f"{name} {values[name]:.4g}" for name in _IN_BAR if name in values)
            self._bar[0].update(self._bar[1], completed=step, told=f"{told} {self._recall}")

    def validation(self, step: int, values: dict[str, float]) -> None:
        """What validation found."""
        self._recall = f"score {values['score']:.4f}"
        self._write(step, {"validation": values}, "validation")

    def _write(self, step: int, values: dict[str, Any], name: str) -> None:
        if not self._writes:
            return
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._bar is None:
            print(json.dumps({"step": step, **values}), file=sys.stderr, flush=True)
        if self._tensorboard is not None:
            for key, value in values.get("validation", values).items():
                self._tensorboard.add_scalar(f"{name}/{key}", value, step)


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('no TensorBoard log: pip install "harken[train]" brings tensorboard', file=sys.stderr)
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _progress_bar(num_steps: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
    )
    bar.start()
    return bar, bar.add_task("train", total=num_steps, completed=done, told="")
