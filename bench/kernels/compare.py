"""Rivals timed in turns on one machine, beside the two ceilings it was measured to have.

    warm up every way  ->  rounds: each way once, in turn, on a cold L2  ->  median, p20, p80 a way

Turns, and not one way after the other, so that a busy machine slows all alike and their ratio holds. On CUDA a call is timed
with events and the L2 is overwritten before it; on the CPU with perf_counter. Ceilings: a copy (bytes read and written) and
a square product (bfloat16 on CUDA, float32 on the CPU, by the faster of torch's two libraries), with the same clock.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...engine.models.layers import linear

Way = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of a call over `repeats` calls."""

    p20_ms: float
    p50_ms: float
    p80_ms: float
    # Least processor time of a call, all threads together: on a busy CPU the only figure that means something.
    cpu_ms: float
    repeats: int


def in_turns(ways: Mapping[str, Way], device: torch.device, *, rounds: int = 9, warmup: int = 2) -> dict[str, Timing]:
    """Time every way `rounds` times, taking turns; at least 5 rounds give quantiles."""
    for _ in range(warmup):
        for way in ways.values():
            way()
    clock = _cuda_ms if device.type == "cuda" else _cpu_ms
    times: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(rounds, 5)):
        for name, way in ways.items():
            start = time.process_time()
            times[name].append(clock(way))
            spent[name].append((time.process_time() - start) * 1e3)
    timings = {}
    for name, t in times.items():
        p20, _, _, p80 = statistics.quantiles(t, n=5)
        timings[name] = Timing(p20, statistics.median(t), p80, min(spent[name]), len(t))
    return timings


@torch.inference_mode()
def ceilings(device: torch.device) -> dict[str, float]:
    """Measured copy bandwidth in GB/s and product speed in TFLOP/s."""
    cuda = device.type == "cuda"
    source = torch.ones((1 << 30) if cuda else (1 << 27), dtype=torch.int8, device=device)
    target, side = torch.empty_like(source), 8192 if cuda else 2048
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    ways: dict[str, Way] = {"copy": lambda: target.copy_(source), "product": lambda: linear(a, a, None)}
    got = in_turns(ways, device)
    return {
        "copy_gb_s": 2 * source.numel() / got["copy"].p50_ms / 1e6,
        "product_tflop_s": 2 * side**3 / got["product"].p50_ms / 1e9,
    }


def emit(row: Mapping[str, Any], out: Path | None) -> None:
    """One JSON line a result, to a file if there is one."""
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _cpu_ms(way: Way) -> float:
    start = time.perf_counter()
    way()
    return (time.perf_counter() - start) * 1e3


def _cuda_ms(way: Way) -> float:
    torch.empty(2 * torch.cuda.get_device_properties().L2_cache_size, dtype=torch.int8, device="cuda").zero_()
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    way()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop)
