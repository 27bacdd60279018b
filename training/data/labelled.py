"""Adapters of the datasets with class labels: ESC-50, FSD50K, VGGSounder, EPIC-Sounds, HD-EPIC.

Source: the datasets' published files.
"""

from .adapter import Adapter, Context, split_name
from .record import Record, RecordError, spoken, youtube_origin
from .row import Row

HD_EPIC_RATE_HZ = 48_000


def _esc50(record: Record, context: Context) -> Row:
    name, fold = record.text("filename"), int(record.number_of("fold"))
    test_fold = context.options["test_fold"]
    freesound = record.optional("src_file")
    return Row(
        name,
        context.sounds.find([name], "filename"),
        labels=(spoken(record.text("category")),),
        source="ESC-50",
        split=context.split if test_fold is None else ("test" if fold == test_fold else "train"),
        origins=() if freesound is None else (f"freesound:{freesound}",),
        metadata={"fold": fold, **record.rest("target")},
    )


def _fsd50k(record: Record, context: Context) -> Row:
    name = record.text("fname")
    labels = tuple(spoken(label) for label in record.text("labels").split(","))
    mids = tuple(record.text("mids").split(","))
    if len(labels) != len(mids) or not all(labels):
        raise RecordError("labels", f"holds {len(labels)} labels for {len(mids)} mids; wanted one each")
    return Row(
        name,
        context.sounds.find([name], "fname"),
        labels=labels,
        source="FSD50K",
        # The development file has a column of its own for train and val.
        split=split_name(record.text("split")) if record.fields.get("split") else context.split,
        origins=(f"freesound:{name}",),
        metadata={"mids": mids},
    )


def _vggsounder(record: Record, context: Context) -> Row | None:
    name, modality = record.text("video_id"), record.text("modality")
    if modality not in ("A", "V", "AV"):
        raise RecordError("modality", f"is {modality!r}; wanted A, V or AV")
    wanted = context.options["modalities"]
    if modality not in ((wanted,) if isinstance(wanted, str) else wanted):
        return None
    return Row(
        name,
        context.sounds.find([name], "video_id"),
        labels=(spoken(record.text("label")),),
        source="VGGSounder",
        split=context.split or "test",
        origins=youtube_origin(name, "video_id"),
        metadata=record.rest("background_music", "static_image", "voice_over"),
    )


def _epic_sounds(record: Record, context: Context) -> Row:
    name, video = record.text("annotation_id"), record.text("video_id")
    start_s, end_s = record.span("start_timestamp", "stop_timestamp")
    participant = record.optional("participant_id") or video.split("_")[0]
    return Row(
        name,
        context.sounds.find([video, f"{participant}/{video}", f"{participant}/audio/{video}"], "video_id"),
        labels=(spoken(record.text("class")),),
        start_s=start_s,
        end_s=end_s,
        source="EPIC-Sounds",
        split=context.split,
        origins=(f"epic:{video}",),
        metadata=record.rest("class_id", "description"),
    )


def _hd_epic(record: Record, context: Context) -> Row:
    video = record.text("video_id")
    first, last = int(record.number_of("start_sample")), int(record.number_of("stop_sample"))
    if not 0 <= first < last:
        raise RecordError("stop_sample", f"goes from sample {first} to {last}; wanted 0 <= start < stop")
    participant = record.optional("participant_id") or video.split("-")[0]
    return Row(
        f"{video}_{first}_{last}_{record.text('class_id', 'class')}",
        context.sounds.find([video, f"{participant}/{video}"], "video_id"),
        labels=(spoken(record.text("class")),),
        start_s=first / HD_EPIC_RATE_HZ,
        end_s=last / HD_EPIC_RATE_HZ,
        source="HD-EPIC",
        split=context.split,
        origins=(f"hd-epic:{video}",),
        metadata=record.rest("class_id"),
    )


LABELLED = (
    Adapter(
        "esc50",
        "CSV (filename, fold, target, category, src_file); option test_fold: that fold is the test split",
        _esc50,
        licence="CC BY-NC 3.0",
        options={"test_fold": None},
    ),
    Adapter("fsd50k", "CSV (fname, labels, mids, perhaps split)", _fsd50k, licence="CC BY 4.0"),
    Adapter(
        "vggsounder",
        "CSV (video_id, label, modality, ...), a line a label; option modalities: whose labels count",
        _vggsounder,
        part=lambda record: record.text("label"),
        # Which labels AuroLA evaluates is not published; what is seen alone cannot be found by ear.
        options={"modalities": ("A", "AV")},
    ),
    Adapter(
        "epic_sounds",
        "CSV (annotation_id, participant_id, video_id, start_timestamp, stop_timestamp, description, class, class_id)",
        _epic_sounds,
        licence="CC BY-NC 4.0",
    ),
    Adapter(
        "hd_epic",
        "CSV (participant_id, video_id, start_timestamp, stop_timestamp, start_sample, stop_sample, class, class_id)",
        _hd_epic,
    ),
)
