"""Sound files to stored vectors: `harken bulk` against a plain loop over transformers, same files, same model, one run.

    python -m harken.bench.latency.bulk [--folder SOUNDS | --clips 64 --length 3] [--model FOLDER --recipe NAME] [--out FILE]

Question: how many clips a second, and how many CPU seconds a clip, does each way take from files to vectors on disk?
Gate:     every rival's vectors must agree with harken's (cosine) before a figure is printed.
Rivals:   "hf loop"    - read a file, resample, the full class with its language head, one clip at a time; np.save at the end;
          "hf batched" - the same in batches in the order of the files, padded, without the language head.
          Both get the adapter merged beforehand.
Reads:    ratio = clips a second of harken / of the rival. CPU seconds are those of the process, all threads. The ways take
          turns; the median of the repetitions counts. Loading the model is outside the clock, listing the files inside.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch

from ...engine.audio import load_audio
from ...engine.bulk import LocalEngine, run_bulk
from ...engine.embedder import Embedder
from ...engine.load import load
from .encode import cpu_name, noise_clips
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


def loop_way(path: Qwen2AudioPath, batch: int, *, head: bool) -> Way:
    def run(folder: Path, out: Path) -> np.ndarray:
        names, vectors = sorted(folder.iterdir()), []
        for start in range(0, len(names), batch):
            clips = [load_audio(name).samples for name in names[start : start + batch]]
            vectors.append(path.encode(clips, head=head))
        out.mkdir()
        np.save(out / "vectors.npy", np.concatenate(vectors))
        return np.concatenate(vectors)

    return run


def measure(ways: dict[str, Way], folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Median wall and CPU seconds of each way; all vectors are compared with harken's."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        reference: np.ndarray | None = None
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as place:
                wall, cpu = time.perf_counter(), time.process_time()
                vectors = way(folder, Path(place) / "out")
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
            reference = vectors if reference is None else reference
            cosine = float((vectors * reference).sum(1).min())
            if cosine < 0.9999:
                raise SystemExit(f"FAILED: {name} disagrees with harken, smallest cosine {cosine:.6f}")
    return {
        name: {"wall_s": statistics.median(w for w, _ in runs), "cpu_s": statistics.median(c for _, c in runs)}
        for name, runs in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="flat folder of sound files; default: noise written for the purpose"
    )
    parser.add_argument("--clips", type=int, default=32, help="files of noise")
    parser.add_argument("--length", type=float, default=3.0, help="seconds of each, at 44.1 kHz, FLAC")
    parser.add_argument("--model", help="checkpoint folder of a Qwen2-Audio; default: the built-in model")
    parser.add_argument("--recipe")
    parser.add_argument("--adapter")
    parser.add_argument("--batch", type=int, default=8, help="clips a batch of 'hf batched'")
    parser.add_argument("--threads", type=int, default=2, help="reading threads of harken")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args()
    model = load(args.model, recipe=args.recipe, adapter=args.adapter, device="cpu")
    path = Qwen2AudioPath(model)
    ways = {
        "harken bulk": harken_way(model, args.threads),
        "hf loop": loop_way(path, 1, head=True),
        "hf batched": loop_way(path, args.batch, head=False),
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
    for name, told in figures.items():
        print(
            f"{name:>12} {num_clips / told['wall_s']:>8.2f} clips/s {told['cpu_s'] / num_clips:>8.3f} CPU s a clip"
            f"   {told['wall_s'] / ours:.2f}x the time of harken",
            flush=True,
        )
    if args.out:
        result = {
            "what": "files to stored vectors, float32 on the CPU",
            "model": model.fingerprint.to_dict(),
            "machine": {"cpu": cpu_name(), "threads": torch.get_num_threads()},
            "versions": {"torch": torch.__version__, "python": platform.python_version(), **path.versions()},
            "num_clips": num_clips,
            "seconds": figures,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
