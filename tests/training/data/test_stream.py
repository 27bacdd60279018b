"""A stream gives every row once an epoch, in an order of seed and epoch alone; it goes on exactly where it stopped."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from torch.utils.data import DataLoader

from harken.engine.audio import Waveform
from harken.errors import AudioError, FileFormatError, InputError
from harken.training.data import Row, Rows
from harken.training.data.sounds import load_sound, load_sounds, sound_hash, unreadable
from harken.training.data.stream import RowStream

from . import miniatures


def sound_bytes(seed: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(seed).uniform(-0.5, 0.5, 800), 16000, format="FLAC")
    return out.getvalue()


def write_tar(path, numbers, *, sidecar=".json") -> None:
    with tarfile.open(path, "w") as tar:
        for i in numbers:
            text = (
                json.dumps({"caption_long": f"Sound {i}", "tags": ["t"]})
                if sidecar == ".json"
                else f"Sound {i}\nNoise {i}\n"
            )
            for name, data in ((f"k{i}.flac", sound_bytes(i)), (f"k{i}{sidecar}", text.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_parquet(path, numbers, group: int = 4) -> None:
    sounds = [{"bytes": sound_bytes(i), "path": f"{i}.flac"} for i in numbers]
    table = pa.table({"id": [f"p{i}" for i in numbers], "audio": sounds, "caption": [f"Sound {i}" for i in numbers]})
    pq.write_table(table, path, row_group_size=group)


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    """Thirty sounds: ten in tars, ten in Parquet, five in a folder, five in a list."""
    write_tar(tmp_path / "a-0.tar", range(0, 6))
    write_tar(tmp_path / "a-1.tar", range(6, 10), sidecar=".txt")
    write_parquet(tmp_path / "b.parquet", range(10, 20))
    folder = tmp_path / "folder"
    for i in range(20, 25):
        (folder / "in").mkdir(parents=True, exist_ok=True)
        (folder / "in" / f"{i}.flac").write_bytes(sound_bytes(i))
        (folder / "in" / f"{i}.txt").write_text(f"Sound {i}")
    lines = []
    for i in range(25, 30):
        (tmp_path / f"{i}.flac").write_bytes(sound_bytes(i))
        lines.append(json.dumps({"path": f"{i}.flac", "captions": [f"Sound {i}"], "split": "validation"}))
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    return [str(tmp_path / "a-{0..1}.tar"), str(tmp_path / "b.parquet"), str(folder), str(tmp_path / "list.jsonl")]


def texts(batches) -> list[list[str]]:
    return [[row.long[0] for row in batch.rows] for batch in batches]


ALL = sorted(f"Sound {i}" for i in range(30))


def test_every_row_comes_once_with_its_sound(inputs):
    rows = [row for batch in RowStream(inputs, 5) for row in batch.rows]
    assert sorted(row.long[0] for row in rows) == ALL and len({row.id for row in rows}) == 30
    assert {type(row.audio).__name__ for row in rows} == {"bytes", "PosixPath"}
    for row, wave in load_sounds(rows):
        number = int(row.long[0].split()[1])
        assert isinstance(wave, Waveform)
        expected, _ = soundfile.read(io.BytesIO(sound_bytes(number)), dtype="float32")
        np.testing.assert_array_equal(wave.samples, expected)
    by_text = {row.long[0]: row for row in rows}
    assert by_text["Sound 7"].long == ("Sound 7", "Noise 7") and by_text["Sound 0"].tags == ("t",)
    assert by_text["Sound 12"].id == "p12" and by_text["Sound 27"].split == "val"


def test_the_order_follows_from_seed_and_epoch(inputs):
    stream = RowStream(inputs, 5, seed=3)
    first = texts(stream)
    assert first == texts(RowStream(inputs, 5, seed=3)) == texts(stream)
    stream.set_epoch(1)
    assert texts(stream) != first != texts(RowStream(inputs, 5, seed=4))
    plain = texts(RowStream(inputs, 5, shuffle=False))
    assert sum(plain, []) == [f"Sound {i}" for i in range(30)]
    # Rows of several shards meet in a batch.
    assert any(len({int(text.split()[1]) // 10 for text in batch}) > 1 for batch in first)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_the_number_of_workers_changes_nothing(inputs, num_workers):
    batches = DataLoader(RowStream(inputs, 4, seed=1), batch_size=None, num_workers=num_workers)
    assert texts(batches) == texts(RowStream(inputs, 4, seed=1))


@pytest.mark.parametrize(("workers_before", "workers_after"), [(0, 0), (2, 0), (0, 2)])
def test_a_stopped_stream_goes_on_behind_the_last_batch(inputs, workers_before, workers_after):
    whole = RowStream(inputs, 4, seed=1)
    expected = texts(whole)
    whole.set_epoch(1)
    expected += texts(whole)
    stream = RowStream(inputs, 4, seed=1)
    got = []
    for i, batch in enumerate(DataLoader(stream, batch_size=None, num_workers=workers_before)):
        got += texts([batch])
        if i == 2:
            break
    state = json.loads(json.dumps(stream.state_after(batch)))
    resumed = RowStream(inputs, 4, seed=1)
    resumed.load_state(state)
    for batch in DataLoader(resumed, batch_size=None, num_workers=workers_after):
        got += texts([batch])
    # The state behind the last batch of an epoch is the beginning of the next.
    again = RowStream(inputs, 4, seed=1)
    again.load_state(again.state_after(batch))
    assert again.epoch == 1 and got + texts(again) == expected


def test_ranks_share_the_rows_and_stop_together(inputs):
    ranks = [RowStream(inputs, 4, seed=2, rank=r, num_ranks=3) for r in range(3)]
    parts = [texts(rank) for rank in ranks]
    assert [len(part) for part in parts] == [len(rank) for rank in ranks] == [2, 2, 2]
    together = [text for part in parts for batch in part for text in batch]
    assert len(set(together)) == len(together) == 24
    # The same rows, in the same order, as one process has.
    assert [batch for turn in zip(*parts) for batch in turn] == texts(RowStream(inputs, 4, seed=2))[:6]


def test_a_row_that_cannot_be_read_is_told_and_left_out(tmp_path):
    write_tar(tmp_path / "a.tar", range(4))
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        info = tarfile.TarInfo("alone.flac")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"fLaC"))
    (tmp_path / "f").mkdir()
    for name, text in (("ok", '{"caption": "A"}'), ("none", '{"caption": ""}'), ("bad", "{"), ("list", "[]")):
        (tmp_path / "f" / f"{name}.wav").write_bytes(b"RIFF")
        (tmp_path / "f" / f"{name}.json").write_text(text)
    batches = list(RowStream([str(tmp_path / "a.tar"), str(tmp_path / "f")], 9))
    problems = sorted(problem for batch in batches for problem in batch.problems)
    assert sum(len(batch.rows) for batch in batches) == 5
    assert len(problems) == 4 and "alone.flac has neither alone.json nor alone.txt" in problems[0]
    assert (
        "bad.json cannot be read" in problems[1]
        and "list.json holds a list" in problems[2]
        and "no field" in problems[3]
    )


def test_sounds_that_cannot_be_decoded_are_errors_never_silence(tmp_path):
    good = miniatures.write_sound(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(good.read_bytes()[:60])
    rows = [
        Row("a", good),
        Row("b", tmp_path / "b.wav"),
        Row("c", tmp_path / "c.wav"),
        Row("d", good, start_s=0.4, end_s=9.0),
    ]
    assert [str(e).split(" ")[0] for _, e in load_sounds(rows) if isinstance(e, AudioError)] == ["b", "c", "d"]
    assert len(list(unreadable(rows))) == 3
    with pytest.raises(AudioError, match="e: has no sound"):
        load_sound(Row("e", None))


def test_a_part_is_cut_out_and_brought_to_the_rate(tmp_path):
    path = miniatures.write_sound(tmp_path / "a.wav")
    whole, part = load_sound(Row("a", path)), load_sound(Row("a", path, start_s=0.1, end_s=0.35))
    np.testing.assert_array_equal(part.samples, whole.samples[1600:5600])
    assert load_sound(Row("a", path), 8000).sample_rate_hz == 8000
    assert len(load_sound(Row("a", path), max_s=0.1).samples) == 1600


def test_a_sound_has_one_hash_in_every_container(tmp_path):
    wav, flac = (load_sound(Row("a", miniatures.write_sound(tmp_path / f"a{e}"))) for e in (".wav", ".flac"))
    other = load_sound(Row("b", miniatures.write_sound(tmp_path / "b.wav", 1)))
    assert sound_hash(wav) == sound_hash(flac) != sound_hash(other)


def test_rows_that_are_there_already_are_streamed_too():
    rows = Rows([Row(str(i), None, long=(f"Sound {i}",)) for i in range(7)])
    assert sorted(sum(texts(RowStream([rows], 7)), [])) == [f"Sound {i}" for i in range(7)]


def test_wrong_inputs_and_states_are_refused(tmp_path, inputs):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.tar").write_bytes(b"no tar")
    (tmp_path / "x.doc").touch()
    for given, kind, message in (
        ([str(tmp_path / "empty")], InputError, "holds no row"),
        ([str(tmp_path / "x.tar")], FileFormatError, "no uncompressed tar"),
        ([str(tmp_path / "gone.tar")], InputError, "there is no such file or folder"),
        ([str(tmp_path / "x.doc")], InputError, "nothing to stream from"),
    ):
        with pytest.raises(kind, match=message):
            RowStream(given, 1)
    with pytest.raises(InputError, match="30 rows are there; wanted 16 for each of 2"):
        RowStream(inputs, 16, num_ranks=2)
    with pytest.raises(InputError, match="rank"):
        RowStream(inputs, 4, rank=2, num_ranks=2)
    stream = RowStream(inputs, 4)
    state = stream.state_after(next(iter(stream)))
    for other, message in (
        (RowStream(inputs, 5), "batch_size is 4"), (RowStream(inputs[:2], 4), "inputs"), (RowStream(inputs, 4, seed=1), "seed"),
        (RowStream(inputs, 4, num_ranks=2), "1 batches are done; 2 processes"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            other.load_state(state)


def test_a_shard_that_changed_while_it_was_read_is_told(tmp_path):
    write_tar(tmp_path / "a.tar", range(4))
    stream = RowStream([str(tmp_path / "a.tar")], 2)
    write_tar(tmp_path / "a.tar", range(3))
    with pytest.raises(InputError, match="has 3 rows now and had 4"):
        list(stream)
