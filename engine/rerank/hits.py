"""Hits in files: what `harken rerank` reads and writes, one row a hit.

    {"query": "a dog barks", "id": "dog.wav", "score": 0.61}                         read
    {..., "direction": "t2a", "p_yes": 0.97, "fused": 1.48, "rank": 1, "error": null}  written

A `relevant` of true or false in a row is kept, and is what `harken tune-fusion` learns from.

Source: own.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from .fusion import FusionWeights
from .runner import Ranked


def read_hits(path: str, query: str | None = None) -> list[dict[str, Any]]:
    """Rows of a .parquet, .json (a list) or JSON lines file; "-" is standard input.

    Args:
        path: of the file.
        query: of rows that name none.

    Raises:
        InputError: unreadable, or a row without query, id or a real score; the text names the row.
    """
    try:
        rows = list(_rows(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as hits: {error}") from None
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(
                f"{path}: row {number} is a {type(row).__name__}, wanted an object with query, id and score"
            )
        if query is not None:
            row.setdefault("query", query)
        if "query" not in row:
            raise InputError(
                f"{path}: row {number} names no query; wanted one in the row, or --query for all such rows"
            )
        for name, kind in (("query", str), ("id", str), ("score", (int, float))):
            if not isinstance(row.get(name), kind) or isinstance(row.get(name), bool):
                raise InputError(f"{path}: row {number} has {name} {row.get(name)!r}, wanted a {_word(kind)}")
        if not math.isfinite(row["score"]):
            raise InputError(f"{path}: row {number} has score {row['score']}, wanted a real number")
    return rows


def by_query(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each query, best first, queries in the order in which they came."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["query"], []).append(row)
    return [sorted(group, key=lambda row: -row["score"]) for group in groups.values()]


def reordered(
    rows: list[dict[str, Any]], ranked: list[Ranked], direction: str, weights: FusionWeights | None
) -> list[dict[str, Any]]:
    """A query's rows with what the reranker said of the first of them, in their new order.

    With weights the order is that of equation 11 for this direction alone, and a row without P(Yes) keeps its retrieval
    score; without them scored rows come first, by P(Yes).
    """
    out = []
    for row, said in zip(rows, [*ranked, *[Ranked(0, None)] * (len(rows) - len(ranked))]):
        p_yes = said.score
        fused = None
        if weights is not None:
            fused = weights.ret * row["score"] + getattr(weights, direction) * (p_yes or 0.0)
        out.append({**row, "direction": direction, "p_yes": p_yes, "fused": fused, "error": said.error})
    if weights is not None:
        out.sort(key=lambda row: -row["fused"])
    else:
        out.sort(key=lambda row: (row["p_yes"] is None, -(row["p_yes"] or 0.0), -row["score"]))
    return [{**row, "rank": rank} for rank, row in enumerate(out, 1)]


def tables(rows: Iterable[dict[str, Any]], path: str) -> dict[str, np.ndarray]:
    """Rows written by `harken rerank`, with labels, as the [texts, sounds] tables that `fit_fusion` takes.

    Returns: "similarity" (-inf where nothing was retrieved), "relevant", and "a2t" and "t2a" where there are such rows.

    Raises:
        InputError: a row lacks a label or a direction, or two rows disagree about a pair.
    """
    texts: dict[str, int] = {}
    sounds: dict[str, int] = {}
    cells: dict[tuple[int, int], dict[str, Any]] = {}
    for number, row in enumerate(rows):
        if row.get("direction") not in ("a2t", "t2a") or not isinstance(row.get("relevant"), bool):
            raise InputError(
                f"{path}: row {number} has direction {row.get('direction')!r} and relevant {row.get('relevant')!r}; "
                "wanted rows that `harken rerank` wrote, with relevant true or false"
            )
        text, sound = (row["id"], row["query"]) if row["direction"] == "a2t" else (row["query"], row["id"])
        place = texts.setdefault(text, len(texts)), sounds.setdefault(sound, len(sounds))
        cell = cells.setdefault(place, {"relevant": row["relevant"], "score": row["score"]})
        if cell["relevant"] != row["relevant"] or not math.isclose(cell["score"], row["score"], abs_tol=1e-4):
            raise InputError(f"{path}: row {number} disagrees with an earlier one about {text!r} and {sound!r}")
        cell[row["direction"]] = row.get("p_yes") or 0.0
    shape = len(texts), len(sounds)
    found = {"similarity": np.full(shape, -np.inf, np.float32), "relevant": np.zeros(shape, bool)}
    for direction in ("a2t", "t2a"):
        if any(direction in cell for cell in cells.values()):
            found[direction] = np.zeros(shape, np.float32)
    for place, cell in cells.items():
        found["similarity"][place], found["relevant"][place] = cell["score"], cell["relevant"]
        for direction in ("a2t", "t2a"):
            if direction in cell:
                found[direction][place] = cell[direction]
    return found


def _rows(path: str) -> Iterator[Any]:
    if path == "-":
        yield from (json.loads(line) for line in sys.stdin if line.strip())
    elif path.endswith(".parquet"):
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
    elif path.endswith(".json"):
        yield from json.loads(Path(path).read_text())
    else:
        with open(path) as lines:
            yield from (json.loads(line) for line in lines if line.strip())


def _word(kind: Any) -> str:
    return "string" if kind is str else "number"
