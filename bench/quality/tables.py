"""The papers' tables with our row in them: ours first, published rows below, each marked.

Source: own.
"""

from collections.abc import Sequence
from typing import Any

from .published import published
from .results import Section

# In this order where a section has them.
COLUMNS = (
    "R@1",
    "R@5",
    "R@10",
    "mAP",
    "mAP@10",
    "mAP@10 (hits)",
    "median rank",
    "accuracy",
    "flipped",
    "dRank",
    "HNSR",
    "HNSR@10",
    "TFR",
    "TFR@10",
    "Avg",
    "MMD",
    "centre distance",
    "cosine of pairs",
)


def rows_of(dataset: str, section: Section, system: str) -> list[dict[str, Any]]:
    """The table of a section: one dictionary a line, all of the same keys.

    Args:
        dataset: the benchmark's name.
        section: what was measured.
        system: what our row is called.
    """
    others = published(dataset, section.key)
    known = {name for row in others for name in row.values}
    columns = [name for name in COLUMNS if name in section.measures or name in known]
    ours = {"system": system, "from": "measured"} | {
        name: section.measures[name].text() if name in section.measures else "" for name in columns
    }
    theirs = [
        {"system": row.system, "from": f"published, {row.source}"}
        | {name: f"{row.values[name]:g}" if name in row.values else "" for name in columns}
        for row in others
    ]
    return [ours, *theirs]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of rows of one shape."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows])


def headline(section: Section) -> str:
    """Title of a section's table."""
    return f"{section.title}: {section.num_queries} queries among {section.num_candidates}"
