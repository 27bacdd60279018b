"""The benchmarks: which reader, which protocol, and by which names their files are published.

Source: file names as published, spec/recipes.md F.2.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["captions", "labels", "questions", "choices", "triplets"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Where the files of one dataset are and which protocol it is for."""

    name: str
    # Of training.data.read_dataset; "": the project's own manifest.
    reader: str
    kind: Kind
    # Globs of annotation files, the first that matches counts.
    annotations: tuple[str, ...]
    # Folders of sounds, relative; the first that is there counts.
    audio_dirs: tuple[str, ...]
    split: str | None = "test"
    # Captions that count: all (long and short), or those of one kind.
    captions: Literal["all", "short"] = "all"
    # Clips as published; several sources may differ.
    published_clips: str = ""
    # Sounds are found beside the annotation, not in a folder of their own.
    sounds_beside: bool = False
    options: dict[str, Any] = field(default_factory=dict)


_WAVES = ("audio", "wavs", "waveforms", ".")
BENCHMARKS: dict[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark(
            "audiocaps",
            "audiocaps",
            "captions",
            ("test.csv", "test.json", "*audiocaps*test*.csv", "*audiocaps*test*.json", "dataset/test.csv"),
            ("audio/test", "test", "wavs/test", "waveforms/test", *_WAVES),
            published_clips="975",
        ),
        Benchmark(
            "clotho",
            "clotho",
            "captions",
            ("clotho_captions_evaluation.csv", "*evaluation*.csv", "descs_cap_test.json", "*clotho*test*.json"),
            (
                "evaluation",
                "clotho_audio_evaluation/evaluation",
                "clotho_audio_evaluation",
                "audio/evaluation",
                *_WAVES,
            ),
            published_clips="1045",
        ),
        Benchmark(
            "auto-acd",
            "auto_acd",
            "captions",
            ("test.json", "test.csv", "*auto*acd*test*.*"),
            ("audio/test", "test", *_WAVES),
            published_clips="997 or 1000",
        ),
        Benchmark(
            "valor",
            "valor",
            "captions",
            ("*valor*test*.json", "desc_test.json", "test.json"),
            ("audio/test", "test", *_WAVES),
        ),
        Benchmark(
            "mecat",
            "mecat",
            "captions",
            ("00A/test", "00A", "test", "*.tar", "*.tar.gz", "*.json", "."),
            (".",),
            captions="short",
            published_clips="847 (848 in the shard)",
            sounds_beside=True,
        ),
        Benchmark(
            "vggsounder",
            "vggsounder",
            "labels",
            ("vggsounder.csv", "vggsounder/data/vggsounder.csv", "data/vggsounder.csv", "vggsounder*.csv"),
            ("audio/test", "test", *_WAVES),
            published_clips="15339 or 15446",
        ),
        Benchmark(
            "epic-sounds",
            "epic_sounds",
            "labels",
            ("EPIC_Sounds_validation.csv", "*alidation*.csv"),
            _WAVES,
            split="val",
            published_clips="8035",
        ),
        Benchmark(
            "hd-epic",
            "hd_epic",
            "labels",
            ("HD-EPIC-Sounds.csv", "HD_EPIC_Sounds.csv", "*EPIC*Sounds*.csv"),
            _WAVES,
            split=None,
            published_clips="50968",
        ),
        Benchmark(
            "esc50",
            "esc50",
            "labels",
            ("meta/esc50.csv", "esc50.csv"),
            ("audio", "."),
            split=None,
            published_clips="2000",
        ),
        Benchmark(
            "fsd50k",
            "fsd50k",
            "labels",
            ("FSD50K.ground_truth/eval.csv", "ground_truth/eval.csv", "eval.csv"),
            ("FSD50K.eval_audio", "eval_audio", "clips/eval", *_WAVES),
            published_clips="10231",
        ),
        Benchmark(
            "librisqa",
            "librisqa",
            "questions",
            ("LibriSQA-PartI/*test*.json", "*PartI*test*.json", "*test*.json"),
            ("LibriSpeech/test-clean", "test-clean", "LibriSpeech", *_WAVES),
            published_clips="2620 questions",
        ),
        Benchmark(
            "mmau-mini",
            "mmau",
            "choices",
            ("mmau-test-mini.json", "*mini*.json"),
            ("test-mini-audios", "audio", "."),
            split=None,
            published_clips="1000 questions",
        ),
        Benchmark("sounds", "", "captions", ("manifest.jsonl",), (".",)),
    )
}
