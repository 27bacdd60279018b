"""What is embedded in the benchmarks: noise of published lengths, and sentences of published lengths.

    10s       every clip 10 s, as AudioCaps' are
    30s       every clip 30 s
    clotho    15 to 30 s, uniform: Clotho's bounds; its mean is 22.6 s, this one's 22.5 s
    mix       0.5 to 30 s, uniform in the logarithm: a folder of everything

What a clip holds does not change what it costs. Boundaries: a clip is a WAV file, its samples, or its features.

Source: spec/recipes.md G; Clotho (Drossos et al. 2020), section 2.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ...errors import InputError

RATE_HZ = 16000
WORDS = (
    "a an the dog man woman engine rain wind music bird car water crowd child barks speaks idles falls blows plays sings"
).split()


@dataclass(frozen=True, slots=True)
class Workload:
    """Clips of one distribution of lengths."""

    lengths: str
    clips: list[np.ndarray]

    @property
    def durations_s(self) -> list[float]:
        return [len(clip) / RATE_HZ for clip in self.clips]

    def describe(self) -> dict[str, float | int | str]:
        """Distribution of the lengths, for the result's JSON."""
        durations = np.array(self.durations_s)
        p10, p50, p90 = np.percentile(durations, (10, 50, 90)).tolist()
        return {
            "lengths": self.lengths,
            "clips": len(durations),
            "mean_s": float(durations.mean()),
            "p10_s": p10,
            "p50_s": p50,
            "p90_s": p90,
            "total_s": float(durations.sum()),
        }


def draw_lengths(lengths: str, num_clips: int, seed: int) -> list[float]:
    """Seconds of each clip.

    Raises:
        InputError: no such distribution; a number of seconds followed by "s" is one.
    """
    rng = np.random.default_rng(seed)
    if lengths == "clotho":
        return rng.uniform(15, 30, num_clips).tolist()
    if lengths == "mix":
        return np.exp(rng.uniform(np.log(0.5), np.log(30), num_clips)).tolist()
    try:
        seconds = float(lengths.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not lengths.endswith("s") or not seconds > 0:
        raise InputError(f"lengths is {lengths!r}; wanted clotho, mix or seconds such as 10s")
    return [seconds] * num_clips


def make_workload(lengths: str, num_clips: int, seed: int = 0) -> Workload:
    """Noise of drawn lengths."""
    rng = np.random.default_rng([seed, 1])
    sizes = [round(RATE_HZ * seconds) for seconds in draw_lengths(lengths, num_clips, seed)]
    return Workload(lengths, [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in sizes])


def write_files(workload: Workload, folder: Path) -> list[Path]:
    """The clips as 16-bit WAV files."""
    paths = [folder / f"{i:05}.wav" for i in range(len(workload.clips))]
    for path, clip in zip(paths, workload.clips):
        soundfile.write(path, clip, RATE_HZ, subtype="PCM_16")
    return paths


def make_sentences(num: int, seed: int = 0) -> list[str]:
    """Sentences of 8 to 16 words, as captions are long."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(8, 17))) for _ in range(num)]
