"""How much memory something takes at its highest, over what was taken before it.

On CUDA torch's allocator says it; on the CPU a thread reads the process's resident size every few milliseconds, so peaks
shorter than that are missed.
"""

from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import torch

PERIOD_S = 0.005
_PAGE_BYTES = 4096


class PeakMemory:
    """`with PeakMemory(device) as memory: ...` and then `memory.peak_bytes`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.peak_bytes = 0

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before, self._stop = resident_bytes(), Event()
            self._thread = Thread(target=self._watch)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self.peak_bytes = torch.cuda.max_memory_allocated(self._device) - self._before
        else:
            self._stop.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.peak_bytes = max(self.peak_bytes, resident_bytes() - self._before)


def resident_bytes() -> int:
    """The process's resident size; 0 where there is no /proc."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * _PAGE_BYTES if path.exists() else 0
