"""A model for tests of bulk runs that needs no weights: a vector is a few moments of the samples.

As a program it runs `run_bulk` with that model:  python fake.py OUT INPUT... [--sleep-ms N] [--limit-bytes N] [--part-rows N]
or, with --serve, once in a process of its own for every line of such arguments as JSON, without starting Python anew.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harken.engine.audio import Waveform, load_audio
from harken.engine.bulk import Settings, run_bulk
from harken.errors import HarkenError

DIM = 8


class Told:
    def __init__(self, name: str) -> None:
        self.id = name

    def to_dict(self) -> dict[str, Any]:
        return {"weights": self.id, "recipe": "fake"}


class FakeEncoder:
    """Its vectors also depend, by a little, on the neighbours in the batch, as rounding makes those of real models."""

    dim, read_limit_s = DIM, None

    def __init__(self, name: str = "fake", *, sleep_ms: float = 0.0) -> None:
        self.fingerprint, self.sleep_ms = Told(name), sleep_ms
        self.batches: list[int] = []

    def load_clip(self, source: Any, name: str) -> Waveform:
        return load_audio(source, 16000, name=name)

    def encode_clips(self, clips: Sequence[Waveform], *, instruction: str | None = None) -> np.ndarray:
        if not clips:
            return np.zeros((0, DIM), np.float32)
        time.sleep(self.sleep_ms / 1000)
        self.batches.append(len(clips))
        total = sum(float(np.abs(clip.samples).sum()) for clip in clips)
        moments = [[float((np.abs(clip.samples) ** k).mean()) for k in range(1, DIM + 1)] for clip in clips]
        return np.asarray(moments, np.float32) + np.float32(total * 1e-9)


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--sleep-ms", type=float, default=0.0)
    parser.add_argument("--limit-bytes", type=int, help="size at which the system lets no file grow")
    parser.add_argument("--part-rows", type=int, default=8)
    args = parser.parse_args(arguments)
    if args.limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.limit_bytes, args.limit_bytes))
    encoder = FakeEncoder(sleep_ms=args.sleep_ms)
    run_bulk(args.inputs, Path(args.out), lambda: encoder, settings=Settings(part_rows=args.part_rows))


def serve() -> None:
    """Fork a process for every line of arguments; answer with its id, and when it ended, with how, its error, its memory."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 0
            try:
                run(json.loads(line))
            except HarkenError as error:
                os.write(writing, repr(error).encode())
                code = 1
            os._exit(code)
        os.write(1, f"{child}\n".encode())
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status, used = os.wait4(child, 0)
        answer = [os.waitstatus_to_exitcode(status), said, used.ru_maxrss]
        os.write(1, f"{json.dumps(answer)}\n".encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        run(sys.argv[1:])
