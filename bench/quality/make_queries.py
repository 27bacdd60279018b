"""User-intent queries from what a language model wrote: the five files that `uiq.py` reads, and that OEA publishes.

    harken mine review ... ; harken mine pairs ...           pairs of clips that sound alike, accepted by a person
    harken captions write oea ... --negatives pairs.jsonl    four queries a clip and one that rules the other clip out
    harken eval-queries ...                                  the files; a line that a person deletes is not asked

Source: spec/recipes.md B.5, B.6 (OEA); the column `negative_audio_id` is harken's own, released files lack it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...engine.durable import written_aside
from ...errors import InputError, OutputError
from ...training.captions.lines import read_lines
from ...training.data import Row
from .lines import lines, naming
from .metrics import UIQ_KINDS


def read_pairs(path: Path) -> dict[str, str]:
    """The hard negative of each clip, from what `harken mine pairs` wrote; of several the first.

    Raises:
        InputError: names file, row and column.
    """
    negatives: dict[str, str] = {}
    for record in lines(path):
        with naming(record):
            negatives[record.text("audio")] = record.texts("negatives")[0]
    return negatives


def queries_of(
    rows: Sequence[Row], captions: Path, pairs: Mapping[str, str], dataset: str
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, in the order of `rows`.

    Args:
        rows: the clips of the test split.
        captions: what `harken captions write oea` wrote.
        pairs: hard negatives by clip; a clip without one gets no negative query.
        dataset: what the rows are said to be of.

    Raises:
        InputError: a reply of a clip that is not among the rows, a negative clip that is not, or a kind without any query.
    """
    by_id = {row.id: row for row in rows}
    replies: dict[tuple[str, str], tuple[str, str]] = {}
    for line in read_lines(captions):
        if line["id"] not in by_id:
            raise InputError(f"{captions}: holds a reply of {line['id']!r}, which is none of the {len(rows)} rows")
        if "reply" in line and line["task"] in UIQ_KINDS:
            replies[line["id"], line["task"]] = str(line["reply"].get("query", "")), line["model"]
    made: dict[str, list[dict[str, Any]]] = {}
    for kind in UIQ_KINDS:
        made[kind] = []
        for row in rows:
            text, model = replies.get((row.id, kind), ("", ""))
            if not text or (kind == "negative" and row.id not in pairs):
                continue
            told: dict[str, Any] = {"audio_id": row.id, "dataset": dataset, "query_type": kind}
            told["negative_query" if kind == "negative" else "generated_query"] = text
            told |= {"original_captions": list(row.captions), "source_model": model}
            if kind == "negative":
                other = by_id.get(pairs[row.id])
                if other is None:
                    raise InputError(f"{row.id}: its hard negative {pairs[row.id]!r} is none of the {len(rows)} rows")
                told |= {"negative_captions": list(other.captions), "negative_audio_id": other.id}
            made[kind].append(told)
        if not made[kind]:
            raise InputError(f"{captions}: holds no {kind} query of any of the {len(rows)} rows")
    return made


def write_queries(folder: Path, made: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One file a kind.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, rows in made.items():
            with written_aside(folder / f"{kind}_queries.jsonl") as aside:
                aside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
