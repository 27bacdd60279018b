"""Plots of a report as PNG bytes: recall curves, rank histograms, confusions, the two modalities in a plane.

Source: own; the last as AuroLA's figure 5.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from ...errors import InputError
from .gap import Projection
from .results import Section

# Upper ends of the bins in which ranks of targets and hard negatives are counted.
BINS = (1, 5, 10, 50, 100)
MAX_CONFUSIONS = 15


def _figure(width: float = 6.4, height: float = 4.0) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('plots need matplotlib: pip install "harken[quality]"') from None
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def recall_curves(sections: Sequence[Section], title: str) -> bytes:
    """Share of queries whose first right candidate stands at rank k or before, over k."""
    figure, axes = _figure(7.2)
    if len(sections) > 10:
        from matplotlib import colormaps

        axes.set_prop_cycle(color=colormaps["tab20"].colors)  # type: ignore[attr-defined]
    for section in sections:
        ks = np.unique(np.geomspace(1, section.num_candidates, 80).round().astype(int))
        ranks = np.asarray(section.ranks)
        axes.plot(ks, [100 * float((ranks <= k).mean()) for k in ks], label=section.title)
    axes.set(xscale="log", xlabel="k", ylabel="R@k, %", ylim=(0, 100), title=f"Recall: {title}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
    return _png(figure)


def rank_histogram(section: Section) -> bytes:
    """How many queries have their first right candidate at which rank; each bar spans twice the ranks of the one before."""
    ranks = np.asarray(section.ranks)
    ends = 2 ** np.arange(int(np.ceil(np.log2(max(section.num_candidates, 2)))) + 1)
    counts = np.bincount(np.searchsorted(ends, ranks), minlength=len(ends))
    names = [f"{end // 2 + 1}-{end}" if end > 2 else str(end) for end in ends.tolist()]
    figure, axes = _figure()
    axes.bar(names, counts)
    axes.tick_params(axis="x", labelsize=7, rotation=30)
    axes.set(xlabel="rank of the first right candidate", ylabel="queries", title=section.title)
    return _png(figure)


def negative_confusion(section: Section) -> bytes:
    """Where targets and their hard negatives stand in the same ranking, counted in bins."""
    edges = np.array([*BINS, np.inf])
    target = np.searchsorted(edges, section.per_query["target rank"])
    negative = np.searchsorted(edges, section.negative_ranks)  # type: ignore[arg-type]
    counts = np.zeros((len(edges), len(edges)), int)
    np.add.at(counts, (target, negative), 1)
    low = [1, *(b + 1 for b in BINS)]
    names = [str(a) if a == b else f"{a}-{b:g}" for a, b in zip(low, BINS)] + [f">{BINS[-1]}"]
    figure, axes = _figure(5.6, 5.0)
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="black" if count < counts.max() / 2 else "white"
        )
    axes.set(
        xticks=range(len(names)),
        xticklabels=names,
        yticks=range(len(names)),
        yticklabels=names,
        xlabel="rank of the hard negative",
        ylabel="rank of the target",
        title=f"Hard negatives: {section.title}",
    )
    return _png(figure)


def label_confusion(section: Section) -> bytes:
    """The labels that are most often taken for others."""
    pairs = sorted(section.confusions.items(), key=lambda item: (-item[1], item[0]))[:MAX_CONFUSIONS]
    figure, axes = _figure(7.2, 0.8 + 0.28 * len(pairs))
    axes.barh([f"{right} taken for {taken}" for (right, taken), _ in pairs], [count for _, count in pairs])
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="sounds", title=f"Confusions: {section.title}")
    return _png(figure)


def modality_plane(projection: Projection) -> bytes:
    """Sounds and texts in one plane, each pair joined by a line."""
    figure, axes = _figure(5.6, 5.0)
    audio, text = projection.audio_N2, projection.text_N2
    axes.plot(*np.stack([audio, text]).transpose(2, 0, 1), color="0.85", lw=0.6, zorder=0)
    axes.scatter(*audio.T, s=12, label="sounds")
    axes.scatter(*text.T, s=12, label="texts")
    axes.set(title=f"Sounds and texts ({projection.method.upper()}, {len(audio)} pairs)", xticks=[], yticks=[])
    axes.legend()
    return _png(figure)
