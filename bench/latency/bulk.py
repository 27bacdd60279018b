"""Sound files to stored vectors: `harken bulk` against what people run today, same files, same model, one run.

    harken bench bulk [--folder SOUNDS | --clips 64 --length 3] [--model FOLDER --recipe NAME] [--out FILE]

Question: how many clips a second, and how many CPU seconds a clip, does each way take from files to vectors on disk?
Gate:     every rival's vectors must agree with harken's (cosine) before a figure is printed.
Rivals:   "hf loop"     - read a file, resample, the full class with its language head, one clip at a time;
          "st style"    - a loop as sentence-transformers makes it: all files named at once, longest first, batches of 32,
                          each read, prepared and run in turn in one process, without the head;
          "eval loader" - AuroLA's evaluation rebuilt from its description: a torch DataLoader whose worker processes read
                          files and prepare features and prompts, batches of 8 in the files' order, the full class.
          All hold the vectors in memory and write one file at the end, get the adapter merged beforehand, and read with
          soundfile and soxr (which is what librosa does).
Reads:    ratio = clips a second of harken / of the rival. CPU seconds are those of the process and its workers, all
          threads. The ways take turns; the median of the repetitions counts. Loading the model is outside the clock,
          listing the files inside.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from torch.utils.data import DataLoader

from ...engine.audio import load_audio, probe
from ...engine.bulk import LocalEngine, run_bulk
from ...engine.embedder import Embedder
from ...engine.load import load
from ..record import cpu_name, save
from .encode import noise_clips
from .rivals import Qwen2AudioPath

# A way embeds all files of a folder, stores the vectors in another, and gives them in the order of the files' names.
Way = Callable[[Path, Path], np.ndarray]


def harken_way(model: Embedder, threads: int) -> Way:
    def run(folder: Path, out: Path) -> np.ndarray:
        run_bulk([str(folder)], out, lambda: model, engine=LocalEngine(threads))
        tables = [pq.read_table(path, columns=["vector"]) for path in sorted((out / "vectors").iterdir())]
        flat = np.concatenate([t["vector"].combine_chunks().flatten().to_numpy() for t in tables])
        return flat.reshape(-1, model.dim)

    return run


def hf_loop(path: Qwen2AudioPath) -> Way:
    def run(folder: Path, out: Path) -> np.ndarray:
        vectors = [path.encode([load_audio(name).samples], head=True) for name in sorted(folder.iterdir())]
        return _store(np.concatenate(vectors), out)

    return run


def st_style(path: Qwen2AudioPath, batch: int) -> Way:
    def run(folder: Path, out: Path) -> np.ndarray:
        names = sorted(folder.iterdir())
        longest_first = np.argsort([-probe(name).duration_s for name in names], kind="stable")
        found: dict[int, np.ndarray] = {}
        for start in range(0, len(names), batch):
            rows = longest_first[start : start + batch].tolist()
            vectors = path.encode([load_audio(names[row]).samples for row in rows], head=False)
            found.update(zip(rows, vectors))
        return _store(np.stack([found[row] for row in range(len(names))]), out)

    return run


def eval_loader(path: Qwen2AudioPath, batch: int, num_workers: int) -> Way:
    def run(folder: Path, out: Path) -> np.ndarray:
        loader: DataLoader[Path] = DataLoader(
            sorted(folder.iterdir()),  # type: ignore[arg-type]
            batch_size=batch,
            num_workers=num_workers,
            collate_fn=lambda names: path.inputs([load_audio(name).samples for name in names], False),
            multiprocessing_context="fork" if num_workers else None,
        )
        return _store(np.concatenate([path.forward(inputs, head=True) for inputs in loader]), out)

    return run


def _store(vectors: np.ndarray, out: Path) -> np.ndarray:
    out.mkdir()
    torch.save(torch.from_numpy(vectors), out / "vectors.pth")
    return vectors


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def measure(ways: dict[str, Way], folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Median wall and CPU seconds of each way; all vectors are compared with harken's."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        reference: np.ndarray | None = None
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as place:
                wall, cpu = time.perf_counter(), cpu_seconds()
                vectors = way(folder, Path(place) / "out")
                seconds[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
            reference = vectors if reference is None else reference
            cosine = float((vectors * reference).sum(1).min())
            if cosine < 0.9999:
                raise SystemExit(f"FAILED: {name} disagrees with harken, smallest cosine {cosine:.6f}")
    return {
        name: {"wall_s": statistics.median(w for w, _ in runs), "cpu_s": statistics.median(c for _, c in runs)}
        for name, runs in seconds.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="harken bench bulk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, help="flat folder of sound files; default: noise written for the purpose"
    )
    parser.add_argument("--clips", type=int, default=32, help="files of noise")
    parser.add_argument("--length", type=float, default=3.0, help="seconds of each, at 44.1 kHz, FLAC")
    parser.add_argument("--model", help="checkpoint folder of a Qwen2-Audio; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--st-batch", type=int, default=32, help="clips a batch of 'st style'")
    parser.add_argument("--loader-batch", type=int, default=8, help="clips a batch of 'eval loader'")
    parser.add_argument("--workers", type=int, default=2, help="reading processes of 'eval loader'")
    parser.add_argument("--threads", type=int, default=2, help="reading threads of harken")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(arguments)
    model = load(args.model, recipe=args.recipe, adapter=args.adapter, device="cpu")
    path = Qwen2AudioPath(model)
    ways = {
        "harken bulk": harken_way(model, args.threads),
        "hf loop": hf_loop(path),
        "st style": st_style(path, args.st_batch),
        "eval loader": eval_loader(path, args.loader_batch, args.workers),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or Path(place)
        if args.folder is None:
            for i, clip in enumerate(noise_clips(args.clips, args.length * 44100 / 16000)):
                soundfile.write(folder / f"{i:05d}.flac", clip, 44100)
        num_clips = len(sorted(folder.iterdir()))
        figures = measure(ways, folder, args.repeats)
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {num_clips} files")
    ours = figures["harken bulk"]["wall_s"]
    rows: list[dict[str, Any]] = []
    for name, told in figures.items():
        rows.append(
            {
                "way": name,
                "clips_per_s": num_clips / told["wall_s"],
                "cpu_s_a_clip": told["cpu_s"] / num_clips,
                "times": told["wall_s"] / ours,
                **told,
            }
        )
        print(
            f"{name:>12} {rows[-1]['clips_per_s']:>8.2f} clips/s {rows[-1]['cpu_s_a_clip']:>8.3f} CPU s a clip"
            f"   {rows[-1]['times']:.2f}x the time of harken",
            flush=True,
        )
    if args.out:
        chosen = {name: getattr(args, name) for name in ("st_batch", "loader_batch", "workers", "threads", "repeats")}
        settings = {"model": model.fingerprint.to_dict(), "num_clips": num_clips, **chosen}
        save(args.out, "bulk", "files to stored vectors, float32 on the CPU", settings, rows)


if __name__ == "__main__":
    main()
