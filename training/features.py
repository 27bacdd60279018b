"""The frozen tower's outputs of every clip, computed once and kept on disk in float16.

    folder/features.npy   [N, W] rows of all clips, end to end
    folder/clips.json     {"source": what made them, "ids": [...], "lengths": [...]}

Clips are never padded: a clip of t seconds has about 25 t rows. Clips that cannot be read are listed, not cached.

    python -m harken.training.features --data DIR

Source: own.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ..engine.audio import load_audio
from ..engine.convert.mini import build_mini
from ..engine.models.load import load_model
from ..errors import AudioError, FileFormatError
from .data import Clip, load_manifest

Encode = Callable[[Sequence[Clip]], Iterator[np.ndarray | str]]


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


def write_cache(folder: str | Path, clips: Sequence[Clip], encode: Encode, source: str) -> list[str]:
    """Fill a cache folder.

    Args:
        encode: gives for some clips their [tokens, W] arrays, or for one that cannot be used the reason.
        source: what made the features, for the index.

    Returns: the problems, one line a clip that was left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids: list[str] = []
    rows: list[np.ndarray] = []
    problems: list[str] = []
    for start in range(0, len(clips), 16):
        some = clips[start : start + 16]
        for clip, got in zip(some, encode(some)):
            if isinstance(got, str) or not len(got):
                problems.append(
                    f"{clip.id} ({clip.path.name}): {got if isinstance(got, str) else 'too short for one token'}"
                )
            else:
                ids.append(clip.id)
                rows.append(got.astype(np.float16))
    if not rows:
        raise AudioError(f"{folder}: not one of {len(clips)} clips could be encoded; the first: {problems[:1]}")
    np.save(folder / "features.npy", np.concatenate(rows))
    index = {"source": source, "ids": ids, "lengths": [len(r) for r in rows]}
    (folder / "clips.json").write_text(json.dumps(index))
    return problems


def tower_encoder(model: str | Path, max_s: float = 30.0) -> Encode:
    """An `encode` for `write_cache`: the audio tower of a checkpoint, in float32, on sounds cut at `max_s`."""
    tower = load_model(model, dtype=torch.float32, device="cpu").tower
    rate_hz = tower.spec.sample_rate_hz

    @torch.inference_mode()
    def encode(clips: Sequence[Clip]) -> Iterator[np.ndarray | str]:
        got: list[np.ndarray | str] = []
        for clip in clips:
            try:
                samples = load_audio(clip.path, rate_hz, max_s=max_s, long_audio="truncate").samples
                got.append(samples if tower.num_tokens(len(samples)) > 0 else "too short for one audio token")
            except AudioError as error:
                got.append(str(error))
        heard = [samples for samples in got if not isinstance(samples, str)]
        rows: Iterator[torch.Tensor] = iter(())
        if heard:
            cuts = (0, *np.cumsum([len(samples) for samples in heard]).tolist())
            encoded, lengths = tower.encode(tower.features(torch.from_numpy(np.concatenate(heard)), cuts))
            rows = iter(encoded.split(lengths))
        for one in got:
            yield one if isinstance(one, str) else next(rows).numpy()

    return encode


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harken.training.features", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--out", type=Path, help="folder of the cache; default: DATA/features")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the built-in model")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    dataset = load_manifest(args.data)
    model = args.model or build_mini()
    problems = write_cache(args.out or args.data / "features", dataset.clips, tower_encoder(model), str(model))
    for problem in dataset.problems + problems:
        print(problem, file=sys.stderr)
    print(f"{len(dataset.clips) - len(problems)} clips, {len(dataset.problems + problems)} left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
