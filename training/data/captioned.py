"""Adapters of the captioned datasets: AudioCaps, Clotho, Auto-ACD, VALOR, AudioSetCaps, AudioVerse.

Each is published in several layouts; which one a record has shows in its columns. The JSON layouts that AuroLA uses have
an id under one of several names and captions under `desc` or `caption`.

Source: the datasets' published files; AuroLA's loader for the names of columns.
"""

from .adapter import Adapter, Context, ReadRecord
from .record import Record, RecordError, file_origin, youtube_id, youtube_origin
from .row import Row

ID_COLUMNS = ("video_id", "image_id", "image", "id", "audio_id", "youtube_id", "clip_id", "file_name")
CAPTION_COLUMNS = ("desc", "caption", "captions", "text")


def _audiocaps(record: Record, context: Context) -> Row:
    metadata = record.rest("audiocap_id")
    if "youtube_id" in record.fields:
        video, start = record.text("youtube_id"), int(record.number_of("start_time"))
        clip, column = f"{video}_{start}", "youtube_id"
        origins = youtube_origin(video, column)
        names = [clip, f"Y{clip}", video, f"Y{video}"]
    else:
        column = record.first_of(*ID_COLUMNS)
        clip = record.text(column)
        origins, names = youtube_origin(clip, column), [clip]
    captions = record.texts(*CAPTION_COLUMNS)
    audio = context.sounds.find(names, column)
    return Row(clip, audio, long=captions, source="AudioCaps", split=context.split, origins=origins, metadata=metadata)


def _clotho(record: Record, context: Context) -> Row:
    column = record.first_of("file_name", *ID_COLUMNS)
    name = record.text(column)
    if "caption_1" in record.fields:
        captions = tuple(record.text(f"caption_{i}") for i in range(1, 6))
    else:
        captions = record.texts(*CAPTION_COLUMNS)
    # Some of the published names begin or end with a blank.
    audio = context.sounds.find([str(record.fields[column]), name], column)
    return Row(name, audio, long=captions, source="Clotho", split=context.split, origins=(file_origin(name),))


def _part(record: Record) -> object:
    """What tells two lines of one clip apart: the caption's id, or the line where a line has one caption only."""
    if record.fields.get("audiocap_id") is not None:
        return record.text("audiocap_id")
    lists = any(isinstance(record.fields.get(column), list) for column in CAPTION_COLUMNS)
    return None if lists or "caption_1" in record.fields else record.number


def _of_youtube(source: str) -> ReadRecord:
    def read(record: Record, context: Context) -> Row:
        column = record.first_of(*ID_COLUMNS)
        name = record.text(column)
        captions, origins = record.texts(*CAPTION_COLUMNS), youtube_origin(name, column)
        audio = context.sounds.find([name, f"Y{name}", name.removeprefix("Y")], column)
        return Row(name, audio, long=captions, source=source, split=context.split, origins=origins)

    return read


def _audioverse(record: Record, context: Context) -> Row:
    """Captions of three kinds, or of one; rows come from eleven sources, whose ids are of eleven forms."""
    column = record.first_of(*ID_COLUMNS)
    name = record.text(column)
    long = record.texts("caption_long", *CAPTION_COLUMNS, allow_none=True)
    short = record.texts("caption_short", allow_none=True)
    tags = record.texts("caption_tag", allow_none=True)
    if not long and not short:
        raise RecordError("caption_long", "neither it nor caption_short nor caption holds a text; wanted one")
    video = youtube_id(name)
    return Row(
        name,
        context.sounds.find([name], column),
        long=long,
        short=short,
        tags=tags,
        source=record.optional("source", "dataset") or "AudioVerse",
        split=context.split,
        origins=(file_origin(name) if video is None else f"youtube:{video}",),
        metadata=record.rest("stage1_text_hard_negative", "stage1_audio_hard_negative"),
    )


CAPTIONED = (
    Adapter(
        "audiocaps",
        "CSV (audiocap_id, youtube_id, start_time, caption) or JSON [{video_id, caption: [...]}]",
        _audiocaps,
        licence="captions: MIT",
        part=_part,
    ),
    Adapter(
        "clotho",
        "CSV (file_name, caption_1 ... caption_5) or JSON [{video_id, caption: text or list}]",
        _clotho,
        licence="per clip, see its metadata file",
        part=_part,
    ),
    Adapter(
        "auto_acd", "JSON [{id, caption: [...]}] or CSV (youtube_id, caption)", _of_youtube("Auto-ACD"), part=_part
    ),
    Adapter("valor", "JSON [{video_id, desc}]", _of_youtube("VALOR")),
    Adapter("audiosetcaps", "CSV or JSON (id, caption)", _of_youtube("AudioSetCaps"), licence="captions: CC BY 4.0"),
    Adapter("audioverse", "JSON [{id, caption_long, caption_short, caption_tag} or {id, caption}]", _audioverse),
)
