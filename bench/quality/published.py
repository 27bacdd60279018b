"""What the papers report, to stand beside our row and always marked as published. Nothing here was measured by harken.

Each block has one system a line: its name, a bar, then groups of numbers in percent, one group a dataset and section.

Source: spec/recipes.md B.7 (OEA), C.8 (AuroLA), D.4 (ALM2Vec, from a digest), E.4 (Robust-ATR).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

R = ("R@1", "R@5", "R@10")
RM = (*R, "mAP@10")


@dataclass(frozen=True, slots=True)
class Published:
    """One system's numbers for one section of one dataset."""

    dataset: str
    section: str
    system: str
    source: str
    # In percent.
    values: dict[str, float]


def _parse(source: str, places: Sequence[tuple[str, str, Sequence[str]]], block: str) -> Iterator[Published]:
    """Rows of a block; `places` says for each group of a line its dataset, its section and the measures in it."""
    for line in filter(None, map(str.strip, block.splitlines())):
        system, *groups = (part.strip() for part in line.split("|"))
        if len(groups) != len(places):
            raise ValueError(f"{source}: {line!r} has {len(groups)} groups; wanted {len(places)}")
        for (dataset, section, measures), group in zip(places, groups):
            if group:
                yield Published(
                    dataset, section, system, source, dict(zip(measures, map(float, group.split()), strict=True))
                )


_SETS = ("audiocaps", "clotho", "mecat")


def _oea(section: str) -> list[tuple[str, str, Sequence[str]]]:
    return [(name, section, R) for name in _SETS]


_T2A = """
LAION-CLAP       | 22.15 54.63 69.93 | 13.34 33.49 46.22 | 6.80 20.93 30.66
Robust-CLAP      | 26.48 60.12 75.53 | 14.83 37.89 50.05 | 6.51 21.05 31.39
MGA-CLAP         | 36.39 70.11 82.46 | 18.78 43.79 56.63 | 8.02 23.51 34.08
M2D-CLAP         | 41.39 77.13 88.27 | 17.55 42.91 55.54 | 7.37 23.55 33.63
Nemotron-3B      | 3.73 9.09 13.11   | 7.20 21.57 30.12  | 4.09 13.27 21.99
Qwen2.5-Omni-3B  | 0.37 1.19 1.87    | 0.17 0.63 1.13    | 0.12 0.63 1.57
Qwen2.5-Omni-7B  | 0.41 1.29 2.34    | 0.10 0.65 1.32    | 0.16 0.77 2.38
OEA-Nemo3B       | 38.87 72.64 83.88 | 19.04 40.57 54.24 | 7.96 24.53 35.81
OEA-Nemo3B+Cl    | 35.75 68.64 81.35 | 21.57 47.16 60.36 | 6.98 23.00 33.41
OEA-Qwen3B       | 37.60 71.16 83.73 | 19.18 42.05 55.85 | 5.86 17.96 25.94
OEA-Qwen3B+Cl    | 35.96 69.35 81.99 | 22.87 49.78 63.25 | 5.78 17.16 24.76
OEA-Qwen7B       | 38.03 72.25 84.53 | 19.77 44.78 57.65 | 7.74 23.29 33.49
OEA-Qwen7B+Cl    | 34.28 67.47 80.84 | 22.53 48.80 62.70 | 7.02 22.94 33.12
"""
_T2T = """
LAION-CLAP       | 41.11 63.94 74.19 | 50.05 65.88 72.67 | 18.06 39.35 50.57
MGA-CLAP         | 47.73 71.63 80.96 | 63.27 74.70 78.79 | 19.56 40.64 52.14
M2D-CLAP         | 47.51 70.03 79.96 | 55.85 69.05 74.76 | 17.92 38.74 49.51
Nemotron-3B      | 33.17 52.27 62.13 | 57.84 69.36 74.26 | 6.86 20.77 29.56
Qwen2.5-Omni-3B  | 22.63 34.48 41.39 | 38.35 51.14 57.07 | 3.18 9.75 15.39
Qwen2.5-Omni-7B  | 24.06 37.19 44.62 | 40.23 54.26 60.27 | 3.16 10.46 15.92
OEA-Nemo3B       | 48.94 72.62 82.19 | 62.79 74.12 78.91 | 22.11 43.34 54.99
OEA-Nemo3B+Cl    | 48.94 72.21 81.64 | 63.77 75.29 80.11 | 22.80 44.65 55.66
OEA-Qwen3B       | 49.42 72.27 81.76 | 62.81 73.76 78.22 | 22.60 45.38 56.60
OEA-Qwen3B+Cl    | 49.64 71.94 81.01 | 64.52 75.25 79.71 | 24.65 46.23 58.24
OEA-Qwen7B       | 50.30 72.31 82.05 | 63.66 74.32 79.37 | 25.43 47.19 58.18
OEA-Qwen7B+Cl    | 49.93 71.79 81.05 | 63.58 75.04 79.90 | 25.45 47.41 58.67
"""
_KINDS = {
    ("question", "table 12"): """
OEA-Nemo3B       | 36.72 72.00 83.69 | 19.81 43.54 57.61 | 7.31 24.41 35.14
OEA-Nemo3B+Cl    | 34.56 65.64 80.31 | 23.44 50.62 63.73 | 6.96 22.05 32.43
OEA-Qwen3B       | 36.72 70.36 82.56 | 21.34 44.11 59.71 | 7.43 18.04 27.12
OEA-Qwen3B+Cl    | 35.18 68.31 81.74 | 25.74 54.26 66.79 | 6.60 17.57 24.88
OEA-Qwen7B       | 36.92 70.26 84.72 | 22.30 48.33 63.06 | 8.37 23.82 34.79
OEA-Qwen7B+Cl    | 33.23 66.56 79.08 | 24.11 52.15 66.32 | 8.02 23.23 34.79
""",
    ("imperative", "table 13"): """
OEA-Nemo3B       | 41.33 75.08 86.36 | 18.85 43.25 57.03 | 8.37 24.41 36.44
OEA-Nemo3B+Cl    | 37.64 72.51 83.59 | 24.02 51.29 64.69 | 7.67 24.41 34.55
OEA-Qwen3B       | 40.00 72.72 84.92 | 22.30 46.12 59.33 | 7.43 19.34 27.00
OEA-Qwen3B+Cl    | 39.49 72.62 84.31 | 25.45 55.69 67.56 | 7.19 17.33 25.12
OEA-Qwen7B       | 42.15 74.77 84.82 | 24.02 48.71 61.82 | 8.49 24.41 34.55
OEA-Qwen7B+Cl    | 36.72 70.56 83.18 | 26.22 54.64 67.27 | 8.02 24.41 35.61
""",
    ("paraphrase", "table 14"): """
OEA-Nemo3B       | 41.85 77.85 88.00 | 20.96 44.50 57.22 | 7.43 25.24 35.85
OEA-Nemo3B+Cl    | 38.05 73.33 85.13 | 23.83 50.14 64.50 | 7.67 23.00 33.96
OEA-Qwen3B       | 40.10 74.56 86.05 | 21.24 46.79 60.19 | 6.49 19.46 26.89
OEA-Qwen3B+Cl    | 39.18 73.03 84.92 | 27.56 55.50 70.81 | 5.90 18.63 25.59
OEA-Qwen7B       | 42.67 75.90 87.69 | 22.78 50.53 61.82 | 9.08 23.94 35.02
OEA-Qwen7B+Cl    | 38.56 72.10 84.10 | 26.41 54.83 67.37 | 7.31 23.82 35.97
""",
    ("tagging", "table 15"): """
OEA-Nemo3B       | 40.51 73.44 85.44 | 21.53 45.45 59.14 | 9.08 27.71 39.74
OEA-Nemo3B+Cl    | 36.92 69.64 83.28 | 25.93 52.54 66.03 | 7.90 24.88 37.03
OEA-Qwen3B       | 38.97 73.03 85.85 | 24.50 49.76 61.72 | 7.55 21.82 29.60
OEA-Qwen3B+Cl    | 39.08 72.51 84.51 | 27.66 57.99 71.87 | 6.25 19.69 27.24
OEA-Qwen7B       | 43.79 74.87 88.00 | 24.98 50.72 65.93 | 9.79 25.35 36.56
OEA-Qwen7B+Cl    | 38.15 70.46 83.08 | 27.75 55.41 68.61 | 8.25 24.76 36.20
""",
}
_UIQ_MEANS = """
LAION-CLAP       | 38.65 | 37.06 | 42.71 | 40.92 | 38.01
Robust-CLAP      | 43.24 | 41.07 | 47.19 | 43.98 | 42.07
MGA-CLAP         | 44.41 | 44.94 | 50.97 | 48.74 | 45.16
M2D-CLAP         | 48.76 | 44.74 | 53.16 | 50.58 | 47.76
OEA-Nemo3B       | 46.65 | 47.58 | 48.87 | 49.19 | 46.39
OEA-Nemo3B+Cl    | 46.10 | 49.41 | 49.02 | 48.82 | 46.97
OEA-Qwen3B       | 44.17 | 46.06 | 48.20 | 46.94 | 44.57
OEA-Qwen3B+Cl    | 46.71 | 48.55 | 50.07 | 49.05 | 47.18
OEA-Qwen7B       | 47.47 | 49.30 | 50.31 | 50.12 | 47.08
OEA-Qwen7B+Cl    | 47.32 | 49.87 | 50.21 | 50.25 | 47.16
"""
# dRank is a mean of ranks, not a share.
_NEGATIVE = """
LAION-CLAP       | 30.72 42.15 25.6 68.7 24.7 10.5 4.9
Robust-CLAP      | 34.86 46.53 33.7 69.6 30.3 11.6 6.9
MGA-CLAP         | 36.75 48.92 15.1 65.0 21.2 12.9 3.9
M2D-CLAP         | 41.56 55.63 18.6 68.0 30.3 16.2 7.5
OEA-Nemo3B       | 39.64 51.23 21.1 68.6 32.9 15.1 8.6
OEA-Nemo3B+Cl    | 41.48 53.67 17.9 69.2 32.5 17.3 10.1
OEA-Qwen3B       | 37.49 49.12 18.8 67.5 31.6 14.3 8.3
OEA-Qwen3B+Cl    | 41.52 53.89 17.6 67.3 32.8 16.4 10.0
OEA-Qwen7B       | 38.20 50.45 33.0 74.4 31.8 15.8 9.5
OEA-Qwen7B+Cl    | 38.14 50.38 29.8 73.9 34.6 15.9 9.8
"""
_AUROLA = """
AuroLA-7B (PT)             | 42.4 75.3 85.3 | 54.8 81.7 89.2 | 26.5 52.4 64.6 | 32.9 58.2 69.8
AuroLA-7B (PT) + rerank    | 46.7 76.8 85.7 | 58.7 84.0 90.3 | 28.3 54.2 66.0 | 36.7 59.2 70.9
AuroLA-7B                  | 46.8 78.4 88.3 | 64.0 86.7 92.9 | 26.7 53.3 64.7 | 36.5 64.7 73.8
AuroLA-7B + rerank         | 51.0 80.6 89.6 | 65.6 87.5 93.3 | 28.2 55.7 67.4 | 38.6 66.0 76.4
"""
_AUROLA_ACD = """
AuroLA-7B (PT)             | 37.9 | 36.3
AuroLA-7B (PT) + rerank    | 41.1 | 41.3
AuroLA-7B                  | 39.5 | 39.3
AuroLA-7B + rerank         | 42.3 | 41.8
"""
_AUROLA_LABELS = """
AuroLA-7B (PT)             | 29.3 | 46.6 | 9.5 | 27.8 | 11.5 | 34.3
AuroLA-7B                  | 33.8 | 48.9 | 10.7 | 32.2 | 17.0 | 50.3
"""
_ROBUST = """
Robust-ATR | 18.3 48.2 59.1 16.2 | 45.1 79.3 90.5 48.6 | 95.0 99.5 99.8 97.2 | 69.7 88.9 92.9 67.2 | 15.8 42.0 54.3 26.7 | 35.2 71.5 84.4 52.1
LAION-CLAP | 17.5 37.0 45.5 15.5 | 44.4 76.8 88.9 43.8 | 91.5 99.5 99.7 94.7 | 65.5 87.4 91.3 65.9 | 14.6 34.9 44.7 23.1 | 34.1 69.7 82.7 49.0
MS-CLAP    | 23.2 47.5 57.6 15.4 | 38.1 69.7 81.4 31.9 | 93.5 99.8 100.0 95.6 | 54.2 83.7 89.7 58.1 | 15.6 38.5 51.0 25.5 | 28.9 63.0 77.0 43.2
"""  # noqa: E501
# mAP@10 at the numbers 5, 10 and 15, which the paper calls SNR.
_ROBUST_NOISE = """
Robust-ATR | 16.1 | 16.0 | 15.8 | 47.4 | 46.8 | 46.6 | 97.0 | 93.6 | 93.2 | 66.1 | 59.3 | 58.8 | 25.6 | 25.5 | 25.2 | 52.0 | 51.8 | 51.0
LAION-CLAP | 14.6 | 14.0 | 12.5 | 40.2 | 34.7 | 31.7 | 94.2 | 87.2 | 79.7 | 62.5 | 47.9 | 40.1 | 22.7 | 21.7 | 20.1 | 47.5 | 43.7 | 40.8
MS-CLAP    | 14.2 | 13.4 | 11.7 | 26.5 | 24.2 | 20.3 | 95.1 | 90.4 | 81.2 | 56.4 | 40.2 | 37.8 | 25.2 | 22.3 | 20.7 | 42.1 | 40.5 | 38.6
"""  # noqa: E501
_NOISE_PLACES = [
    (dataset, f"{section}, noise at {number} dB", ("mAP@10",))
    for dataset, section in (
        ("clotho", "a2t"),
        ("audiocaps", "a2t"),
        ("esc50", "a2l"),
        ("fsd50k", "a2l"),
        ("clotho", "t2a"),
        ("audiocaps", "t2a"),
    )
    for number in (5, 10, 15)
]
_AUROLA_README = """
AuroLA-3B (PT)             | 42.5 | 52.5 | 25.0 | 30.8
AuroLA-3B                  | 44.9 | 60.5 | 25.6 | 34.9
AuroLA-3B + rerank         | 49.7 | 64.4 | 27.3 | 38.9
"""
_OEA_AGAIN = """
OEA-Qwen3B+Cl              | 27.27 52.82 66.70
OEA-Nemo3B+Cl              | 26.89 51.39 65.26
"""
_OEA_AGAIN_NEGATIVE = "OEA-Nemo3B | 70.79 49.37 | 33.58 36.72 | 12.22 18.58"
_ALM2VEC = "ALM2Vec (FT) | 43.2 | 24.8 | 84.7 | 86.0"
_NEGATIVE_MEASURES = ("R@5", "R@10", "dRank", "HNSR", "HNSR@10", "TFR", "TFR@10")
_MEAN_KINDS = ("question", "imperative", "tagging", "paraphrase")

PUBLISHED: tuple[Published, ...] = (
    *_parse("OEA table 2", _oea("t2a"), _T2A),
    *_parse("OEA table 3", _oea("t2t"), _T2T),
    *(row for (kind, table), block in _KINDS.items() for row in _parse(f"OEA {table}", _oea(f"uiq {kind}"), block)),
    *_parse(
        "OEA table 4, mean of three sets",
        [*(("uiq", f"uiq {kind}", ("R@5",)) for kind in _MEAN_KINDS), ("uiq", "uiq average", ("Avg",))],
        _UIQ_MEANS,
    ),
    *_parse("OEA table 17, mean of three sets", [("uiq", "uiq negative", _NEGATIVE_MEASURES)], _NEGATIVE),
    *_parse(
        "AuroLA table 9",
        [("audiocaps", "t2a", R), ("audiocaps", "a2t", R), ("clotho", "t2a", R), ("clotho", "a2t", R)],
        _AUROLA,
    ),
    *_parse(
        "AuroLA README",
        [(dataset, section, ("R@1",)) for dataset in ("audiocaps", "clotho") for section in ("t2a", "a2t")],
        _AUROLA_README,
    ),
    *_parse("AuroLA", [("auto-acd", "t2a", ("R@1",)), ("auto-acd", "a2t", ("R@1",))], _AUROLA_ACD),
    *_parse(
        "AuroLA table 4",
        [(s, way, ("mAP",)) for s in ("vggsounder", "hd-epic", "epic-sounds") for way in ("l2a", "a2l")],
        _AUROLA_LABELS,
    ),
    *_parse("AuroLA table 4", [("valor", "t2a", ("mAP",)), ("valor", "a2t", ("mAP",))], "AuroLA-7B | 14.8 | 14.4"),
    *_parse(
        "Robust-ATR table 1",
        [
            ("clotho", "a2t", RM),
            ("audiocaps", "a2t", RM),
            ("esc50", "a2l", RM),
            ("fsd50k", "a2l", RM),
            ("clotho", "t2a", RM),
            ("audiocaps", "t2a", RM),
        ],
        _ROBUST,
    ),
    *_parse("Robust-ATR, whose numbers cannot be dB", _NOISE_PLACES, _ROBUST_NOISE),
    *_parse("OEA, independent reproduction", [("clotho", "a2t", R)], _OEA_AGAIN),
    *_parse(
        "OEA, independent reproduction",
        [(name, "uiq negative", ("R@5", "HNSR@10")) for name in _SETS],
        _OEA_AGAIN_NEGATIVE,
    ),
    *_parse(
        "ALM2Vec, from a digest",
        [(name, "t2a", ("R@1",)) for name in ("audiocaps", "clotho", "librisqa")] + [("librisqa", "a2t", ("R@1",))],
        _ALM2VEC,
    ),
    *_parse(
        "ALM2Vec, from a digest",
        [("mmau-mini", "choice", ("accuracy",))],
        "ALM2Vec | 63.0\nGPT-4o Audio | 60.8",
    ),
)


def published(dataset: str, section: str) -> list[Published]:
    """What is published for a section of a dataset, in the order of the papers."""
    return [row for row in PUBLISHED if row.dataset == dataset and row.section == section]
