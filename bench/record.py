"""A result as a file: what was measured, on what, with what, and the rows.

    {"bench": "scenarios", "what": ..., "date": ..., "machine": {...}, "versions": {...}, "settings": {...}, "rows": [...]}

Source: own.
"""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "harken", "torch", "triton", "transformers", "peft", "sentence-transformers", "vllm", "onnxruntime", "openvino", "numpy",
    "faiss-cpu", "usearch", "torchaudio", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip


def save(path: Path, bench: str, what: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a result; a file that stands there is replaced in one step."""
    device = torch.device(str(settings.get("device", "cpu")))
    record = {
        "bench": bench,
        "what": what,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": describe_machine(device),
        "versions": describe_versions(),
        "settings": dict(settings),
        "rows": list(rows),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(record, indent=1) + "\n")
    aside.replace(path)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Chip, cores, threads, memory, load; on CUDA the card with its clocks and power now."""
    described: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 2),
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described |= _card_state()
    return described


def machine_line(device: torch.device) -> dict[str, Any]:
    """The same in a few words, for files of one result a line: chip or card, threads, versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"device": name, "threads": torch.get_num_threads(), **describe_versions()}


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, where they are installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def cpu_name() -> str:
    """The processor, as it calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _card_state() -> dict[str, float]:
    """Clocks in MHz and power in W, as nvidia-smi tells them; empty where it is not there."""
    fields = {"clocks.sm": "sm_clock_mhz", "clocks.mem": "memory_clock_mhz", "power.draw": "power_w"}
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()[0]
        return {name: float(value) for name, value in zip(fields.values(), told.split(","))}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
