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


def rows_of(dataset: str, section: Section, system: str, *, intervals: bool = True) -> list[dict[str, Any]]:
    """The table of a section: one dictionary a line, all of the same keys.

    Args:
        dataset: the benchmark's name.
        section: what was measured.
        system: what our row is called.
        intervals: behind our numbers; off where lines must be short.
    """
    others = published(dataset, section.key)
    known = {name for row in others for name in row.values}
    columns = [name for name in COLUMNS if name in section.measures or name in known]
    ours = {name: m.text(interval=intervals) for name, m in section.measures.items()}
    by_chance = {name: m.chance_text() for name, m in section.measures.items() if m.chance is not None}
    lines = [(system, "measured", ours)]
    lines += [("random order", "exact", by_chance)] if by_chance else []
    lines += [
        (row.system, f"published, {row.source}", {name: f"{value:g}" for name, value in row.values.items()})
        for row in others
    ]
    return [
        {"system": name, "from": origin} | {column: shown.get(column, "") for column in columns}
        for name, origin, shown in lines
    ]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of rows of one shape."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows])


def overview(sections: Sequence[Section]) -> list[list[dict[str, Any]]]:
    """Our numbers alone, sections with the same measures in one table: value, [95 % interval], (random order)."""
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for section in sections:
        columns = tuple(name for name in COLUMNS if name in section.measures)
        told = {"": section.title, "queries": section.num_queries, "candidates": section.num_candidates}
        for name in columns:
            measure = section.measures[name]
            told[name] = measure.text() + (f" ({measure.chance_text()})" if measure.chance is not None else "")
        tables.setdefault(columns, []).append(told)
    return list(tables.values())


def headline(section: Section) -> str:
    """Title of a section's table."""
    return f"{section.title}: {section.num_queries} queries among {section.num_candidates}"
