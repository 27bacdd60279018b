"""Rows from fields that no published dataset fixes: sidecar files, lists and tables of one's own.

    long       caption_long | long | desc | caption | captions | text        a text or a list of texts
    short      caption_short | short
    tags       caption_tag | tags             labels    labels | label | class | category
    and question, answer, choices, start_s, end_s, source, licence | license, split, duration_s | duration by their names

Source: own; AudioVerse's and AuroLA's names of columns.
"""

from pathlib import Path

from .adapter import SPLITS
from .captioned import CAPTION_COLUMNS
from .record import Record, RecordError, spoken
from .row import Row, Stored
from .table import Fields


def row_of(fields: Fields, row_id: str, audio: Path | bytes | Stored | None, where: Path, number: int = 1) -> Row:
    """The row that some fields make.

    Args:
        fields: whatever is known of the sound.
        row_id, audio: of the row.
        where, number: what errors are about.

    Raises:
        RecordError: a field is of the wrong kind, or none holds a text.
    """
    record = Record(fields, where, number)
    split = (record.optional("split") or "").lower()
    start_s, end_s = record.optional_number("start_s"), record.optional_number("end_s")
    if (start_s or 0.0) < 0 or (end_s is not None and end_s <= (start_s or 0.0)):
        raise RecordError("end_s", f"goes from {start_s} s to {end_s} s; wanted 0 <= start < end")
    row = Row(
        row_id,
        audio,
        long=record.texts("caption_long", "long", *CAPTION_COLUMNS, allow_none=True),
        short=record.texts("caption_short", "short", allow_none=True),
        tags=record.texts("caption_tag", "tags", allow_none=True),
        question=record.optional("question"),
        answer=record.optional("answer"),
        choices=record.texts("choices", allow_none=True),
        start_s=start_s,
        end_s=end_s,
        labels=tuple(map(spoken, record.texts("labels", "label", "class", "category", allow_none=True))),
        source=record.optional("source", "dataset") or "",
        licence=record.optional("licence", "license") or "",
        split=SPLITS.get(split, split),
        duration_s=record.optional_number("duration_s", "duration"),
    )
    if not (row.captions or row.tags or row.labels or row.question):
        raise RecordError(
            "caption", f"no field holds a text; wanted a caption, tags, a label or a question in {list(fields)[:12]}"
        )
    return row
