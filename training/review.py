"""The file in which a person accepts or rejects pairs of clips: CSV for a spreadsheet, or JSON lines.

    anchor, candidate, acoustic, text, decision, note, anchor_captions, candidate_captions, anchor_audio, candidate_audio

`decision` is written by the person: yes, no, or nothing yet. Writing the pairs anew keeps the decisions that are there.

Source: own; OEA's third stage (its form is not published).
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..engine.durable import written_aside
from ..errors import FileFormatError, InputError, OutputError
from .data.row import Row
from .data.table import read_records

ACCEPTED, REJECTED = "yes", "no"
_WORDS = {
    "": "", "yes": ACCEPTED, "y": ACCEPTED, "1": ACCEPTED, "true": ACCEPTED, "accept": ACCEPTED, "keep": ACCEPTED,
    "no": REJECTED, "n": REJECTED, "0": REJECTED, "false": REJECTED, "reject": REJECTED, "drop": REJECTED,
}  # fmt: skip
COLUMNS = (
    "anchor", "candidate", "acoustic", "text", "decision", "note",
    "anchor_captions", "candidate_captions", "anchor_audio", "candidate_audio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clips that sound alike."""

    anchor: str
    candidate: str
    # Cosine of their audio vectors.
    acoustic: float
    # Largest cosine of their captions.
    text: float
    # ACCEPTED, REJECTED or "".
    decision: str = ""
    note: str = ""


def write_review(path: str | Path, pairs: Sequence[Pair], rows: Sequence[Row]) -> int:
    """Write pairs with what a person wants to know of them; decisions of a file that is there stay with their pairs.

    Args:
        path: ends in .csv or .jsonl.
        pairs: in the order of the file.
        rows: of the clips.

    Returns: how many decisions were kept.

    Raises:
        InputError: the ending is another, or the old file holds decisions on pairs that are not among the new ones.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".jsonl"):
        raise InputError(f"{path}: wanted a name that ends in .csv or .jsonl")
    before = {(p.anchor, p.candidate): p for p in read_review(path)} if path.exists() else {}
    decided = {key for key, pair in before.items() if pair.decision or pair.note}
    if lost := sorted(decided - {(p.anchor, p.candidate) for p in pairs}):
        raise InputError(
            f"{path}: holds decisions on {len(lost)} pairs that are not among the new ones, as {lost[0]}; "
            "wanted another name, or the settings that made it"
        )
    by_id = {row.id: row for row in rows}
    lines = []
    for pair in pairs:
        old = before.get((pair.anchor, pair.candidate))
        pair = pair if old is None else replace(pair, decision=old.decision, note=old.note)
        lines.append(_told(pair, by_id))
    try:
        with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(lines)
            else:
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    return len(decided)


def _told(pair: Pair, by_id: Mapping[str, Row]) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(pair, name) for name in COLUMNS[:6]}
    for side, row_id in (("anchor", pair.anchor), ("candidate", pair.candidate)):
        row = by_id[row_id]
        told[f"{side}_captions"] = " | ".join(row.captions)
        told[f"{side}_audio"] = str(row.audio) if isinstance(row.audio, Path) else ""
    return told


def read_review(path: str | Path) -> list[Pair]:
    """The pairs of a review file with their decisions.

    Raises:
        FileFormatError: a column is missing, or a decision is neither yes nor no; the text names file and line.
        InputError: there is no such file.
    """
    path, pairs, seen = Path(path), [], set()
    for number, fields in read_records(path):
        where = f"{path}:{number}"
        if missing := [name for name in COLUMNS[:5] if fields.get(name) is None]:
            raise FileFormatError(f"{where}: has no {missing[0]}; wanted {', '.join(COLUMNS[:5])}")
        word = str(fields["decision"]).strip().lower()
        if word not in _WORDS:
            raise FileFormatError(f"{where}: decision is {fields['decision']!r}; wanted yes, no or nothing")
        try:
            acoustic, text = float(fields["acoustic"]), float(fields["text"])
        except (TypeError, ValueError):
            raise FileFormatError(f"{where}: acoustic or text is no number") from None
        pair = Pair(
            str(fields["anchor"]), str(fields["candidate"]), acoustic, text, _WORDS[word], str(fields.get("note") or "")
        )
        if (pair.anchor, pair.candidate) in seen:
            raise FileFormatError(f"{where}: the pair {pair.anchor!r}, {pair.candidate!r} is there twice")
        seen.add((pair.anchor, pair.candidate))
        pairs.append(pair)
    return pairs
