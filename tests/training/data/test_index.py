"""Rows of shards are those that lie there, by number, in an order of seed and epoch alone; what cannot be used is told."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.engine.audio import Waveform
from harken.engine.bulk.fetch import ParquetSounds
from harken.errors import AudioError, FileFormatError, InputError
from harken.training.data import Row
from harken.training.data.index import IndexedRows, at, chosen, ids_of
from harken.training.data.shards import find_shards
from harken.training.data.sounds import load_sound, load_sounds
from harken.training.draw import draw_rows
from harken.training.rows import SourceSettings, open_sources, read_rows

from . import shards


@pytest.fixture
def sources(tmp_path) -> list[SourceSettings]:
    """Thirty sounds: ten in tars, ten in Parquet, five in a folder, five in a list."""
    shards.write_tar(tmp_path / "a-0.tar", range(6))
    shards.write_tar(tmp_path / "a-1.tar", range(6, 10), sidecar=".txt")
    return [
        SourceSettings("webdataset", str(tmp_path / "a-{0..1}.tar")),
        SourceSettings("parquet", str(shards.write_parquet(tmp_path / "b.parquet", range(10, 20)))),
        SourceSettings("folder", str(shards.write_folder(tmp_path / "folder", range(20, 25)))),
        SourceSettings("list", str(shards.write_list(tmp_path / "list.jsonl", range(25, 30)))),
    ]


def opened(sources, folder, mix: int = 8):
    return open_sources(sources, Path(folder), mix)


def number_of(row: Row) -> int:
    return int(row.long[0].split()[1])


def test_every_row_is_there_with_its_texts_and_its_sound(sources, tmp_path):
    found = opened(sources, tmp_path / "rows")
    rows = list(found.rows)
    assert found.problems == [] and [number_of(row) for row in rows] == list(range(30)) and len(found.rows) == 30
    for row, wave in load_sounds(rows):
        expected, _ = soundfile.read(io.BytesIO(shards.sound_bytes(number_of(row))), dtype="float32")
        assert isinstance(wave, Waveform)
        np.testing.assert_array_equal(wave.samples, expected)
    assert rows[0].tags == ("t", "0") and rows[7].long == ("Sound 7", "Noise 7") and rows[12].short == ("s 12",)
    assert rows[12].id == "p12" and rows[20].id == "in/20.flac" and (rows[25].split, rows[26].split) == ("val", "train")
    assert list(ids_of(found.rows)) == [row.id for row in rows] and len({row.id for row in rows}) == 30


def test_an_index_is_written_once_and_read_from_then_on(sources, tmp_path):
    first = [row.id for row in opened(sources, tmp_path / "rows").rows]
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "rows").iterdir()}
    assert len(before) == 8
    assert [row.id for row in opened(sources, tmp_path / "rows").rows] == first
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "rows").iterdir()} == before


def test_an_epoch_has_every_row_once_in_an_order_of_its_own(sources, tmp_path):
    rows = opened(sources, tmp_path / "rows").rows
    steps = [[number_of(row) for row in draw_rows(rows, step, 3, 5)] for step in range(12)]
    assert sorted(sum(steps[:6], [])) == sorted(sum(steps[6:], [])) == list(range(30)) and steps[:6] != steps[6:]
    # A step's rows follow from seed and step: whatever was drawn before, and opened anew.
    again = opened(sources, tmp_path / "rows").rows
    for step in (11, 0, 7):
        assert [number_of(row) for row in draw_rows(again, step, 3, 5)] == steps[step]
    assert [number_of(row) for row in draw_rows(again, 0, 4, 5)] != steps[0]


def test_row_groups_are_mixed_a_few_at_a_time_and_everything_else_freely(tmp_path):
    sources = [
        SourceSettings("parquet", str(shards.write_parquet(tmp_path / "p.parquet", range(40), group=4))),
        SourceSettings("webdataset", str(shards.write_tar(tmp_path / "t.tar", range(40, 60)))),
    ]
    rows = opened(sources, tmp_path / "rows", mix=2).rows
    numbers = rows.order((0, 1, 0)).tolist()
    assert sorted(numbers) == list(range(60))
    bound = [n // 4 for n in numbers if n < 40]
    pairs = [bound[i : i + 8] for i in range(0, 40, 8)]
    assert all(len(set(pair)) == 2 for pair in pairs) and len({g for pair in pairs for g in pair}) == 10
    # Mixed within a pair, and not sorted by files.
    assert any(pair != sorted(pair) and pair != sorted(pair, reverse=True) for pair in pairs) and bound != sorted(bound)
    free = [place for place, n in enumerate(numbers) if n >= 40]
    assert min(free) < 15 and max(free) >= 45 and [numbers[i] for i in free] != list(range(40, 60))


def test_memory_holds_mix_row_groups(tmp_path, monkeypatch):
    path = shards.write_parquet(tmp_path / "p.parquet", range(24), group=4)
    rows = opened([SourceSettings("parquet", str(path))], tmp_path / "rows", mix=2).rows
    kept = rows[0].audio.parquets
    for step in range(6):
        for row in draw_rows(rows, step, 0, 4):
            load_sound(row)
            assert len(kept._groups) <= 3


def test_rows_of_lists_and_shards_stand_side_by_side(sources, tmp_path):
    manifest = tmp_path / "own"
    manifest.mkdir()
    (manifest / "x.flac").write_bytes(shards.sound_bytes(99))
    line = '{"id": "x", "path": "x.flac", "caption": "Sound 99", "split": "train"}\n'
    (manifest / "manifest.jsonl").write_text(line)
    found = opened([SourceSettings("manifest", str(manifest)), *sources], tmp_path / "rows")
    assert [number_of(row) for row in found.rows][:2] == [99, 0] and len(found.rows) == 31
    assert sorted(number_of(row) for row in draw_rows(found.rows, 0, 0, 31)) == [*range(30), 99]


def test_parts_of_the_rows_stay_in_the_index(sources, tmp_path):
    rows = opened(sources, tmp_path / "rows").rows
    part = chosen(rows, lambda row: number_of(row) % 2)
    assert isinstance(part, IndexedRows) and [number_of(row) for row in part] == list(range(1, 30, 2))
    assert [number_of(row) for row in at(part, [3, 0])] == [7, 1] and [number_of(row) for row in part[2:4]] == [5, 7]
    assert number_of(part[-1]) == 29 and list(ids_of(part[:2])) == [part[0].id, part[1].id]
    with pytest.raises(IndexError):
        part[15]


def test_a_split_takes_its_rows_and_those_that_name_none(sources, tmp_path):
    listed = SourceSettings("list", sources[3].path, split="train")
    assert [number_of(row) for row in opened([listed], tmp_path / "rows").rows] == [26, 28]
    val = SourceSettings("list", sources[3].path, split="val")
    assert [number_of(row) for row in opened([listed, val], tmp_path / "rows").rows] == [26, 28, 25, 27, 29]
    both = [listed, SourceSettings("folder", sources[2].path, split="train")]
    assert len(opened(both, tmp_path / "rows").rows) == 7
    with pytest.raises(InputError, match="split is 'x'"):
        opened([SourceSettings("list", sources[3].path, split="x")], tmp_path / "rows")


def test_rows_that_cannot_be_used_are_told_and_left_out(tmp_path):
    shards.write_tar(tmp_path / "a.tar", range(4))
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        shards.add(tar, "alone.flac", b"fLaC")
        shards.add(tar, "k9.flac", b"fLaC")
        shards.add(tar, "k9.json", b'{"caption": ""}')
        # The same member again.
        shards.add(tar, "k2.flac", shards.sound_bytes(2))
    folder = shards.write_folder(tmp_path / "f", range(4, 6))
    for name, text in (("bad", "{"), ("list", "[]")):
        (folder / f"{name}.wav").write_bytes(b"RIFF")
        (folder / f"{name}.json").write_text(text)
    sources = [SourceSettings("webdataset", str(tmp_path / "a.tar")), SourceSettings("folder", str(folder))]
    found = opened(sources, tmp_path / "rows")
    assert [number_of(row) for row in found.rows] == list(range(6))
    told = sorted(found.problems)
    assert len(told) == 5 and any("alone.flac has neither alone.json nor alone.txt" in line for line in told)
    for part in (
        "no field holds a text",
        "bad.json cannot be read",
        "list.json holds a list",
        "k2.flac: the id is there",
    ):
        assert any(part in line for line in told)


def test_a_sound_that_went_away_is_an_error_and_no_silence(tmp_path):
    path = shards.write_tar(tmp_path / "a.tar", range(3))
    rows = opened([SourceSettings("webdataset", str(path))], tmp_path / "rows").rows
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(AudioError, match="k2.flac"):
        load_sound(rows[2])
    path.unlink()
    with pytest.raises(AudioError, match="there is no such file"):
        load_sound(rows[0])


def test_shards_that_changed_since_they_were_listed_are_refused(tmp_path):
    path = shards.write_tar(tmp_path / "a.tar", range(3))
    sources = [SourceSettings("webdataset", str(tmp_path / "*.tar"))]
    opened(sources, tmp_path / "rows")
    shards.write_tar(path, range(4))
    with pytest.raises(InputError, match=r"a.tar: its size is \d+ now and was \d+ when .* delete"):
        opened(sources, tmp_path / "rows")
    shards.write_tar(path, range(3))
    shards.write_tar(tmp_path / "b.tar", range(3, 6))
    with pytest.raises(InputError, match=r"b.tar: its size is \d+ now and was None when"):
        opened(sources, tmp_path / "rows")


def test_wrong_sources_are_named(tmp_path, sources):
    tar, parquet = sources[0].path, sources[1].path
    (tmp_path / "x.tar").write_bytes(b"no tar")
    (tmp_path / "x.doc").touch()
    (tmp_path / "empty").mkdir()
    mute = shards.write_tar(tmp_path / "mute.tar", [])
    cut = shards.write_tar(tmp_path / "cut.tar", range(2))
    cut.write_bytes(cut.read_bytes()[:5000])
    for source, kind, message in (
        (SourceSettings("webdataset", parquet), InputError, "webdataset was wanted, and .* is none"),
        (SourceSettings("parquet", tar), InputError, "parquet was wanted"),
        (SourceSettings("webdataset", tar, audio_dir="x"), InputError, "takes neither audio_dir nor options"),
        (SourceSettings("webdataset", str(tmp_path / "x.tar")), FileFormatError, "no uncompressed tar"),
        (SourceSettings("webdataset", str(cut)), FileFormatError, "ends inside"),
        (SourceSettings("webdataset", str(tmp_path / "gone.tar")), InputError, "there is no such file or folder"),
        (SourceSettings("webdataset", str(tmp_path / "z*.tar")), InputError, "nothing fits this pattern"),
        (SourceSettings("folder", str(tmp_path / "empty")), InputError, "holds no row"),
        (SourceSettings("webdataset", str(mute)), InputError, "not one row in 1 shards"),
    ):
        with pytest.raises(kind, match=message):
            opened([source], tmp_path / "rows")
    with pytest.raises(InputError, match="nothing to read rows from"):
        find_shards([tmp_path / "x.doc"])
    with pytest.raises(InputError, match="dataset is 'web'; wanted one of manifest, webdataset, parquet, .*clotho"):
        opened([SourceSettings("web", tar)], tmp_path / "rows")
    with pytest.raises(InputError, match="read by `harken train` alone"):
        read_rows([sources[0]])
    with pytest.raises(InputError, match="the id .* is in two sources"):
        opened([sources[1], SourceSettings("list", parquet)], tmp_path / "rows")
    with pytest.raises(InputError, match="data.mix is 0"):
        opened(sources, tmp_path / "rows", mix=0)
    with pytest.raises(InputError, match="30 rows to train on, wanted a batch of 31"):
        draw_rows(opened(sources, tmp_path / "rows").rows, 0, 0, 31)
    with pytest.raises(InputError, match="data.mix"):
        IndexedRows([[Row("a", None)]], ParquetSounds(), 0)


def test_an_index_that_is_damaged_is_named(sources, tmp_path):
    opened(sources[:1], tmp_path / "rows")
    file = next((tmp_path / "rows").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FileFormatError, match="cannot be read as an index of rows"):
        open_sources(sources[:1], tmp_path / "rows", 8)


def test_the_working_folder_does_not_matter(sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = opened([SourceSettings("list", "list.jsonl"), SourceSettings("webdataset", "a-*.tar")], "rows").rows
    assert load_sound(first[0]).sample_rate_hz == 16000
    monkeypatch.chdir("/")
    again = opened([sources[3], SourceSettings("webdataset", str(tmp_path / "a-*.tar"))], tmp_path / "rows").rows
    assert list(ids_of(again)) == list(ids_of(first)) and len(list((tmp_path / "rows").iterdir())) == 4
    assert load_sound(again[0]).sample_rate_hz == 16000


def test_a_row_group_that_is_damaged_is_named(tmp_path):
    path = shards.write_parquet(tmp_path / "a.parquet", range(8))
    data = bytearray(path.read_bytes())
    with shards.pq.ParquetFile(path) as file:
        first = file.metadata.row_group(1).column(0)
    start = first.dictionary_page_offset or first.data_page_offset
    data[start : start + 12] = b"\xff" * 12
    path.write_bytes(bytes(data))
    with pytest.raises((FileFormatError, InputError), match="a.parquet row group 1: cannot be read"):
        opened([SourceSettings("parquet", str(path))], tmp_path / "rows")
