"""Every published layout is read into the same rows; what cannot be read is named by file, record and column."""

import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.errors import FileFormatError, InputError
from harken.training.data import DATASETS, read_dataset
from harken.training.data.questions import split_options
from harken.training.data.record import RecordError, youtube_id
from harken.training.data.wavcaps import is_val

from . import miniatures

LAYOUTS = [(name, i) for name, files in miniatures.FILES.items() for i in range(len(files))]


def read(folder, dataset: str, number: int = 0, **options):
    annotation, audio = miniatures.write(folder, dataset, number)
    return read_dataset(dataset, annotation, audio, **options)


def test_every_dataset_has_a_miniature():
    assert set(miniatures.FILES) == set(DATASETS)


@pytest.mark.parametrize(("dataset", "number"), LAYOUTS, ids=lambda value: str(value))
def test_every_layout_gives_rows_with_their_sounds(tmp_path, dataset, number):
    rows = read(tmp_path, dataset, number)
    assert rows.rows and not rows.problems and all(row.source for row in rows.rows)
    assert len({row.id for row in rows.rows}) == len(rows.rows)
    sounds = {row.audio.relative_to(tmp_path / "audio").as_posix() for row in rows.rows if row.audio is not None}
    assert sounds == set(miniatures.FILES[dataset][number][2]) and all(row.audio or not sounds for row in rows.rows)
    for row in rows.rows:
        assert row.captions or row.labels or (row.question and row.answer)
        assert row.split in ("train", "val", "test", "")


def test_lines_of_one_audiocaps_clip_become_one_row(tmp_path):
    first, second = read(tmp_path, "audiocaps").rows
    assert (first.id, first.long) == ("--a1b2c3d4e_30", ("A kettle, then a click", "Steam hisses"))
    assert first.split == "test" and first.origins == ("youtube:--a1b2c3d4e",) and first.licence == "captions: MIT"
    assert (second.id, second.long) == ("Yz_9a1b2c3d_0", ("Steam hisses",))


@pytest.mark.parametrize("number", range(4))
def test_clotho_has_five_captions_in_every_layout(tmp_path, number):
    row = read(tmp_path, "clotho", number).rows[0]
    assert row.long == tuple(miniatures.FIVE) and row.origins[0] in ("file:old tap", "file:well")


def test_clips_of_youtube_are_known_by_all_their_names(tmp_path):
    row = read(tmp_path, "auto_acd", 1).rows[0]
    assert row.long == ("A hall echoes", "Steps echo") and row.origins == ("youtube:a-1b2c3d4e5",)
    assert {read(tmp_path, "audiosetcaps", i).rows[0].origins for i in range(3)} == {("youtube:_7a1b2c3d4e",)}


def test_a_name_that_begins_with_a_blank_finds_its_file(tmp_path):
    sound = miniatures.write_sound(tmp_path / " Tap.wav")
    (tmp_path / "x.json").write_text(json.dumps([{"video_id": " Tap.wav", "caption": ["Drip"]}]))
    assert read_dataset("clotho", tmp_path / "x.json", tmp_path).rows[0].audio == sound


def test_audioverse_keeps_the_three_kinds_apart(tmp_path):
    one, two, plain = read(tmp_path, "audioverse").rows
    assert (one.long, one.short, one.tags) == (("Long rain on tin",), ("Rain",), ("rain",))
    assert two.tags == () and plain.long == ("A horse trots",) and plain.origins == ("youtube:a-1b2c3d4e5",)


def test_wavcaps_takes_its_source_from_the_file_and_its_split_from_the_hash(tmp_path):
    rows = read(tmp_path, "wavcaps", max_s=31)
    assert [row.id for row in rows.rows] == ["SoundBible/81"] and rows.num_left_out == 1
    assert read(tmp_path, "wavcaps", 1).rows[0].origins == ("freesound:81", "file:old tap")
    assert read(tmp_path, "wavcaps", 2).rows[0].origins == ("youtube:--a1b2c3d4e",)
    assert {row.split for row in read(tmp_path, "wavcaps", val_share=1.0).rows} == {"val"}
    share = sum(is_val("FreeSound", str(i), 0.01, 1337) for i in range(20000)) / 20000
    assert 0.007 < share < 0.013


def test_a_split_of_its_own_column_leaves_the_others_out(tmp_path):
    rows = read(tmp_path, "fsd50k", 1, split="validation")
    assert [row.id for row in rows.rows] == ["39"] and rows.num_left_out == 1
    assert read(tmp_path, "fsd50k", 0).rows[0].labels == ("Chink and clink", "Glass")
    esc = read(tmp_path, "esc50", test_fold=2)
    assert [(row.split, row.labels) for row in esc.rows] == [("train", ("glass breaking",)), ("test", ("rain",))]


def test_vggsounder_joins_the_labels_that_can_be_heard(tmp_path):
    assert [row.labels for row in read(tmp_path, "vggsounder").rows] == [("dog barking", "wind noise")]
    assert [row.labels for row in read(tmp_path, "vggsounder", modalities=("V",)).rows] == [("smiling",)]


def test_parts_of_kitchen_recordings_have_their_seconds(tmp_path):
    epic, hd = read(tmp_path, "epic_sounds").rows[0], read(tmp_path, "hd_epic").rows[0]
    assert (epic.start_s, epic.end_s, epic.labels) == (0.1, 0.35, ("metal-only collision",))
    assert (hd.start_s, hd.end_s, hd.id) == (0.25, 0.5, "P02-20240101-101010_12000_24000_9")


def test_questions_have_answers_and_choices(tmp_path):
    free, other = read(tmp_path, "librisqa", 0).rows
    assert (free.question, free.answer, free.choices) == ("Where were they?", "At sea.", ()) and free.id != other.id
    chosen = read(tmp_path, "librisqa", 1).rows[0]
    assert (chosen.question, chosen.answer) == ("Where were they?", "At sea.")
    assert chosen.choices == ("At home.", "At sea.", "In U.S. waters.", "Lost.")
    mmau = read(tmp_path, "mmau").rows[0]
    assert (mmau.answer, mmau.choices, mmau.metadata["task"], mmau.split) == ("dog", ("cat", "dog"), "sound", "test")


@pytest.mark.parametrize("text", ["Who? A) me B) you", "Who?\n(A) me\n(B) you", "Who? A: me B: you"])
def test_options_are_told_apart_however_they_are_marked(text):
    assert split_options(text, "q") == ("Who?", {"A": "me", "B": "you"})
    with pytest.raises(RecordError, match="no options"):
        split_options("Who is A?", "q")


def test_speech_is_found_in_librispeechs_own_tree(tmp_path):
    annotation, audio = miniatures.write(tmp_path, "librisqa", 1)
    (audio / "10-20-0001.flac").unlink()
    sound = miniatures.write_sound(audio / "10/20/10-20-0001.flac")
    assert read_dataset("librisqa", annotation, audio).rows[0].audio == sound


def test_sentences_that_follow_and_that_contradict(tmp_path):
    row = read(tmp_path, "nli").rows[0]
    assert row.audio is None and row.long == ("A man runs.", "He moves.") and row.negatives == ("He sleeps.",)


def test_mecat_is_read_from_its_folder_and_its_tar(tmp_path):
    shard = tmp_path / "shard"
    sound = miniatures.write_sound(shard / "m1.flac")
    (shard / "m1.json").write_text(json.dumps(miniatures.MECAT_FIELDS))
    with tarfile.open(tmp_path / "test.tar.gz", "w:gz") as tar:
        for path in (sound, shard / "m1.json"):
            tar.add(path, path.name)
    of_folder, of_tar = (read_dataset("mecat", path).rows[0] for path in (shard, tmp_path / "test.tar.gz"))
    assert of_folder.audio == sound and of_tar.audio == sound.read_bytes()
    assert of_folder.short == of_tar.short == ("Steps on gravel",) * 3 and of_tar.metadata["sound"] == ["Steps"] * 3
    sound.unlink()
    with pytest.raises(InputError, match="m1.flac"):
        read_dataset("mecat", shard)


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("--0w1YA1Hm4_30", "--0w1YA1Hm4"), ("Y--0w1YA1Hm4.wav", "--0w1YA1Hm4"), ("Yabcdefghij", "Yabcdefghij"),
        ("AudioSet/audio/a-1b2c3d4e5_000030.flac", "a-1b2c3d4e5"), ("_7Xe9vD3Hpg_4_10", "_7Xe9vD3Hpg"),
        ("Yab_12345678_30.000_40.000.wav", "ab_12345678"), ("Santa Motor.wav", None), ("short_30", None),
    ],
)  # fmt: skip
def test_a_video_is_known_under_every_name_it_has(name, video):
    assert youtube_id(name) == video


BAD = {
    "a missing column": ("clotho", "x.csv", "file_name,caption_1\na.wav,x\n", "x.csv:2: caption_2: is missing"),
    "an empty caption": (
        "audiocaps", "x.json", '[{"video_id": "a-1b2c3d4e5_1", "caption": ["x", " "]}]', "x.json:1: caption: item 1 is empty"
    ),
    "an id of another form": (
        "audiocaps", "x.json", '[{"video_id": "dog.wav", "caption": ["x"]}]', "x.json:1: video_id: is 'dog.wav'"
    ),
    "an id twice": (
        "valor", "x.jsonl", '{"video_id": "a-1b2c3d4e5", "desc": "x"}\n' * 2, "x.jsonl:2: id: the id 'a-1b2c3d4e5' is"
    ),
    "a caption's id twice": (
        "audiocaps", "x.csv", "audiocap_id,youtube_id,start_time,caption\n1,a-1b2c3d4e5,3,x\n1,a-1b2c3d4e5,3,y\n",
        "x.csv:3: id: '1' of 'a-1b2c3d4e5_3' is there twice",
    ),
    "an answer that is no choice": (
        "mmau", "x.json", '[{"id": 1, "audio_id": "a", "question": "q", "choices": ["b"], "answer": "c"}]',
        "x.json:1: answer: is 'c'",
    ),
    "a part that ends before it begins": (
        "epic_sounds", "x.csv", "annotation_id,video_id,start_timestamp,stop_timestamp,class\n1,v,00:00:02.0,00:00:01.0,c\n",
        "x.csv:2: stop_timestamp: goes from 2 s to 1 s",
    ),
    "a number that is none": ("esc50", "x.csv", "filename,fold,category\na.wav,one,c\n", "x.csv:2: fold: is 'one'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named_by_file_record_and_column(tmp_path, case):
    dataset, name, content, message = BAD[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_dataset(dataset, tmp_path / name)
    assert message in str(error.value)


def test_unless_strict_bad_records_are_listed_and_the_others_read(tmp_path):
    annotation, audio = miniatures.write(tmp_path, "audiocaps")
    with annotation.open("a") as file:
        file.write('10,missing_id__,5,x\n11,short,5,x\n12,Yz_9a1b2c3d,0,""\n')
    (audio / "Yz_9a1b2c3d_0.flac").unlink()
    rows = read_dataset("audiocaps", annotation, audio, strict=False)
    assert [row.id for row in rows.rows] == ["--a1b2c3d4e_30"]
    assert [problem.split(": ")[:2] for problem in rows.problems] == [
        ["test.csv:4", "youtube_id"], ["test.csv:5", "youtube_id"], ["test.csv:6", "youtube_id"], ["test.csv:7", "caption"]
    ]  # fmt: skip
    assert "there is no sound 'Yz_9a1b2c3d_0'" in rows.problems[0]
    with pytest.raises(InputError, match="there is no sound"):
        read_dataset("audiocaps", annotation, audio)


def test_a_file_without_one_usable_record_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("name,words\na,b\n")
    with pytest.raises(InputError, match="no record gives a row; the first: x.csv:2: file_name: is missing"):
        read_dataset("clotho", tmp_path / "x.csv", strict=False)
    (tmp_path / "y.csv").write_text("")
    with pytest.raises(InputError, match="no record"):
        read_dataset("clotho", tmp_path / "y.csv")


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("x.json", b"{broken", FileFormatError, "is no JSON"), ("x.json", b'{"a": 1}', FileFormatError, "wanted a list"),
        ("x.json", b"[1]", FileFormatError, "x.json:1: is a int"), ("x.txt", b"", InputError, "ending"),
        ("x.csv", b"file_name\n\xff\xfe\n", FileFormatError, "not UTF-8"), ("x.parquet", b"no", FileFormatError, "Parquet"),
        ("x.csv", b"a,b\n1,2,3\n", FileFormatError, "x.csv:2: has 1 fields"), ("x.jsonl", b"{}\n{", FileFormatError, ":2:"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_is_called_is_refused(tmp_path, name, content, kind, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=message):
        read_dataset("clotho", tmp_path / name, strict=False)


def test_wrong_arguments_are_named(tmp_path):
    annotation, audio = miniatures.write(tmp_path, "clotho")
    for call, message in (
        (lambda: read_dataset("cloto", annotation), "dataset is 'cloto'; wanted one of audiocaps, clotho"),
        (lambda: read_dataset("clotho", annotation, audio, "tset"), "split is 'tset'"),
        (lambda: read_dataset("clotho", annotation, fold=1), "takes no option 'fold'; known: none"),
        (lambda: read_dataset("clotho", annotation, tmp_path / "gone"), "there is no such folder"),
        (lambda: read_dataset("clotho", tmp_path / "gone.csv"), "there is no such file"),
        (lambda: read_dataset("wavcaps", annotation), "its name tells no source"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_annotations_of_parquet_and_of_objects_by_id_are_read_too(tmp_path):
    columns = {"id": ["a-1b2c3d4e5"], "caption": ["A hall echoes"], "audio": [{"bytes": b"not decoded", "path": None}]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    (tmp_path / "byid.json").write_text(json.dumps({"a-1b2c3d4e5": {"caption": "A hall echoes"}}))
    rows = [read_dataset("auto_acd", tmp_path / name).rows[0] for name in ("train.parquet", "byid.json")]
    assert [(row.id, row.long, row.split) for row in rows] == [
        ("a-1b2c3d4e5", ("A hall echoes",), "train"), ("a-1b2c3d4e5", ("A hall echoes",), "")
    ]  # fmt: skip


def test_a_damaged_tar_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(FileFormatError, match="no tar"):
        read_dataset("mecat", tmp_path / "x.tar")
