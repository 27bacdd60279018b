"""Class labels as texts: each sound ranks the classes, each class ranks the sounds.

    sound to label   mAP over sounds (several right classes count each), R@k, mAP@10
    label to sound   mAP over classes

A label is its own text, underscores as spaces, unless a template says otherwise: AuroLA found no gain by prompts, WavCaps
writes "{label} can be heard". What Robust-ATR does with several labels of one FSD50K clip is not published; here each of
them is right.

Source: spec/recipes.md F.1 (AuroLA's mAP, Robust-ATR's R@k and mAP@10).
Letters: A sounds, C classes, D dimensions.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...errors import InputError
from ...training.data import Row
from ...training.metrics import Ties, first_ranks
from .metrics import average_precision
from .results import Section, mean, recalls
from .retrieval import unit

PLAIN = "{label}"


def classes(rows: Sequence[Row]) -> list[str]:
    """All labels of the rows, in order of name.

    Raises:
        InputError: a row has none.
    """
    if without := [row.id for row in rows if not row.labels]:
        raise InputError(f"{without[0]} has no label ({len(without)} rows have none); wanted one or more")
    return sorted({label for row in rows for label in row.labels})


def label_texts(names: Sequence[str], template: str = PLAIN) -> list[str]:
    """The text that stands for each class.

    Raises:
        InputError: the template has no {label}.
    """
    if "{label}" not in template:
        raise InputError(f"label template is {template!r}; wanted one that holds {{label}}")
    return [template.replace("{label}", name) for name in names]


def by_labels(
    audio_AD: np.ndarray,
    label_CD: np.ndarray,
    rows: Sequence[Row],
    names: Sequence[str],
    *,
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> list[Section]:
    """Both directions.

    Args:
        audio_AD, label_CD: vectors of the rows' sounds and of the classes' texts.
        names: the classes, as `classes` gives them.
    """
    column = {name: i for i, name in enumerate(names)}
    right = np.zeros((len(rows), len(names)), bool)
    for i, row in enumerate(rows):
        right[i, [column[label] for label in row.labels]] = True
    scores = unit(audio_AD) @ unit(label_CD).T
    to_label = {
        "mAP": average_precision(scores, right, ties=ties),
        "mAP@10": average_precision(scores, right, k=10, ties=ties),
    }
    ranks = first_ranks(scores, right, ties=ties)
    first = scores.argmax(1)
    confused = Counter(
        (row.labels[0], names[best])
        for row, best, hit in zip(rows, first, right[np.arange(len(rows)), first])
        if not hit
    )
    a2t = Section(
        "a2l",
        "sound to label",
        {name: mean(values, seed=seed) for name, values in to_label.items()} | recalls(ranks, right, seed=seed),
        len(scores),
        scores.shape[1],
        ranks=ranks,
        query_ids=[row.id for row in rows],
        per_query={"rank": ranks, **to_label},
        confusions=dict(confused),
    )
    by_class = average_precision(scores.T, right.T, ties=ties)
    best = first_ranks(scores.T, right.T, ties=ties)
    t2a = Section(
        "l2a",
        "label to sound",
        {"mAP": mean(by_class, seed=seed)} | recalls(best, right.T, seed=seed),
        len(names),
        len(rows),
        ranks=best,
        query_ids=list(names),
        per_query={"mAP": by_class, "rank": best},
    )
    return [a2t, t2a]
