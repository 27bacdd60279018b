"""The frozen tower's outputs of every clip, computed once and kept on disk in float16.

    folder/features.npy   [N, W] rows of all clips, end to end
    folder/clips.json     {"source": what made them, "ids": [...], "lengths": [...]}

Clips are never padded: a clip of t seconds has about 25 t rows. Clips that cannot be read are listed, not cached.

    python -m harken.training.features --data DIR

Source: own.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ..engine.cli.output import run_module
from ..engine.convert.mini import build_mini
from ..engine.models.load import load_model
from ..errors import AudioError, FileFormatError
from .data import Row
from .data.sounds import load_sounds
from .rows import MANIFEST, SourceSettings, read_rows

Encode = Callable[[Sequence[Row]], Iterator[np.ndarray | str]]


class FeatureCache:
    """Tower outputs by clip id, memory-mapped.

    Raises:
        FileFormatError: the two files are missing or do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            index = json.loads((folder / "clips.json").read_text())
            self._rows = np.load(folder / "features.npy", mmap_mode="r")
            lengths, ids = index["lengths"], index["ids"]
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"{folder}: cannot be read as a cache of features: {error!r}") from None
        if sum(lengths) != len(self._rows) or len(lengths) != len(ids):
            raise FileFormatError(f"{folder}: {len(self._rows)} rows, but clips.json tells of {sum(lengths)}")
        self.source = index.get("source", "")
        stops = np.cumsum(lengths)
        self._spans = {id_: (int(stop) - length, int(stop)) for id_, length, stop in zip(ids, lengths, stops)}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._spans

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """[tokens, W] float16."""
        start, stop = self._spans[clip_id]
        return self._rows[start:stop]


def write_cache(folder: str | Path, rows: Iterable[Row], encode: Encode, source: str) -> list[str]:
    """Fill a cache folder; memory holds the features of a few rows.

    Args:
        encode: gives for some rows their [tokens, W] arrays, or for one that cannot be used the reason.
        source: what made the features, for the index.

    Returns: the problems, one line a row that was left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids: list[str] = []
    lengths: list[int] = []
    problems: list[str] = []
    width = 0
    left = iter(rows)
    with open(folder / "features.tmp", "wb") as file:
        while some := list(islice(left, 16)):
            for row, got in zip(some, encode(some)):
                if isinstance(got, str):
                    problems.append(got)
                    continue
                if not ids:
                    width = got.shape[1]
                    _write_header(file, 0, width)
                ids.append(row.id)
                lengths.append(len(got))
                file.write(got.astype("<f2").tobytes())
        if not ids:
            raise AudioError(f"{folder}: not one of {len(problems)} sounds could be encoded; the first: {problems[:1]}")
        file.seek(0)
        # numpy leaves room in the header for the number of rows to grow.
        _write_header(file, sum(lengths), width)
    os.replace(folder / "features.tmp", folder / "features.npy")
    index = {"source": source, "ids": ids, "lengths": lengths}
    (folder / "clips.json").write_text(json.dumps(index))
    return problems


def _write_header(file: BinaryIO, num_rows: int, width: int) -> None:
    told = {"descr": "<f2", "fortran_order": False, "shape": (num_rows, width)}
    np.lib.format.write_array_header_1_0(file, told)


def tower_encoder(model: str | Path, max_s: float = 30.0, device: torch.device | str = "cpu") -> Encode:
    """An `encode` for `write_cache`: the audio tower of a checkpoint, in float32, on sounds cut at `max_s`."""
    tower = load_model(model, dtype=torch.float32, device=device).tower
    rate_hz = tower.spec.sample_rate_hz

    @torch.inference_mode()
    def encode(rows: Sequence[Row]) -> Iterator[np.ndarray | str]:
        got: list[np.ndarray | str] = []
        for row, sound in load_sounds(rows, rate_hz, max_s=max_s):
            if isinstance(sound, AudioError):
                got.append(str(sound))
            elif tower.num_tokens(len(sound.samples)) > 0:
                got.append(sound.samples)
            else:
                got.append(f"{row.id}: too short for one audio token")
        heard = [samples for samples in got if not isinstance(samples, str)]
        encoded: Iterator[torch.Tensor] = iter(())
        if heard:
            cuts = (0, *np.cumsum([len(samples) for samples in heard]).tolist())
            whole, lengths = tower.encode(tower.features(torch.from_numpy(np.concatenate(heard)).to(device), cuts))
            encoded = iter(whole.split(lengths))
        for one in got:
            yield one if isinstance(one, str) else next(encoded).cpu().numpy()

    return encode


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.features", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--out", type=Path, help="folder of the cache; default: DATA/features")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the built-in model")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    found = read_rows([SourceSettings(MANIFEST, str(args.data))])
    model = args.model or build_mini()
    problems = write_cache(args.out or args.data / "features", found.rows, tower_encoder(model), str(model))
    for problem in found.problems + problems:
        print(problem, file=sys.stderr)
    print(f"{len(found.rows) - len(problems)} sounds, {len(found.problems + problems)} left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_module(main)
