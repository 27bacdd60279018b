"""A bulk run embeds every sound once, in order, whatever fails beside it, in whatever format, in constant memory."""

import json
import multiprocessing
import os
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from harken.engine.audio import load_audio
from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk import reading as reading_module
from harken.errors import AudioError, BackendError, FileFormatError, FingerprintError, InputError

from .fake import DIM, FakeEncoder
from .sounds import break_twelve_ways, fill, tone, tone_file, write_parquet, write_tar

EIGHT = Settings(part_rows=8)


def bulk(out, *inputs, encoder=None, settings=EIGHT, num_threads=2, **options):
    engine = LocalEngine(num_threads)
    make = lambda: encoder or FakeEncoder()
    return run_bulk([str(i) for i in inputs], out, make, settings=settings, engine=engine, **options)


def vectors(out):
    tables = [pq.read_table(path) for path in sorted((out / "vectors").iterdir())]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def errors(out):
    return {row["id"]: row for row in pq.read_table(out / "errors.parquet").to_pylist()}


def tree(folder):
    """Every file of a run's folder but the lock and the times, with its bytes."""
    kept = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("lock", "log.jsonl"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}


def test_every_sound_once_in_order(tmp_path):
    folder = fill(tmp_path / "in", 37)
    seen = []
    report = bulk(tmp_path / "out", folder, on_progress=seen.append)
    got = vectors(tmp_path / "out")
    assert list(got) == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))
    encoder = FakeEncoder()
    for name, row in got.items():
        clip = load_audio(folder / name)
        assert np.abs(np.array(row["vector"]) - encoder.encode_clips([clip])[0]).max() < 1e-4
        assert row["duration_s"] == np.float32(clip.duration_s) and row["uri"] == str(folder / name)
    assert [row["row"] for row in got.values()] == list(range(37))
    assert report.finished and report.num_parts == 5 and report.errors == {} and report.progress.num_failed == 0
    assert report.progress.audio_s == pytest.approx(sum(row["duration_s"] for row in got.values()))
    assert [p.num_done for p in seen] == [8, 16, 24, 32, 37] and seen[-1].left_s == 0
    assert report.limit in report.stage_s and set(report.stage_s) == {"read", "decode", "resample", "device", "write"}
    assert errors(tmp_path / "out") == {}


def test_broken_sounds_are_listed_and_the_others_untouched(tmp_path):
    fill(tmp_path / "in", 40)
    expected = break_twelve_ways(tmp_path / "in" / "a" / "broken")
    assert len(expected) == 12
    report = bulk(tmp_path / "out", tmp_path / "in")
    failed = errors(tmp_path / "out")
    assert {name.removeprefix("a/broken/"): row["stage"] for name, row in failed.items()} == expected
    assert all(row["error"] == "AudioError" and row["uri"] in row["message"] for row in failed.values())
    good = vectors(tmp_path / "out")
    assert len(good) == 40 and not set(good) & set(failed)
    assert (report.progress.num_done, report.progress.num_failed) == (52, 12)
    assert report.errors == {"decode AudioError": 11, "read AudioError": 1}
    for name in ("a/00000.wav", "b/00039.flac"):
        mean = np.abs(load_audio(tmp_path / "in" / name).samples).mean()
        assert good[name]["vector"][0] == pytest.approx(mean, abs=1e-5)


def test_a_file_without_permission_fails_alone(tmp_path, monkeypatch):
    fill(tmp_path / "in", 2)
    closed = tmp_path / "in" / "a" / "00000.wav"
    closed.chmod(0)
    if os.geteuid() == 0:
        # root may read every file: the refusal is put in.
        real = os.open
        refused = PermissionError(13, "Permission denied")

        def refusing(path, *rest, **options):
            if str(path) == str(closed):
                raise refused
            return real(path, *rest, **options)

        monkeypatch.setattr(os, "open", refusing)
    bulk(tmp_path / "out", tmp_path / "in")
    row = errors(tmp_path / "out")["a/00000.wav"]
    assert row["stage"] == "read" and "Permission denied" in row["message"] and len(vectors(tmp_path / "out")) == 1


def test_a_pipe_that_is_written_to_without_end_is_not_waited_for(tmp_path):
    fill(tmp_path / "in", 2)
    os.mkfifo(tmp_path / "in" / "endless.wav")
    (tmp_path / "in" / "zeros.wav").symlink_to("/dev/zero")
    writing = os.open(tmp_path / "in" / "endless.wav", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(writing, tone_file(0)[:2000])
        bulk(tmp_path / "out", tmp_path / "in")
    finally:
        os.close(writing)
    failed = errors(tmp_path / "out")
    assert set(failed) == {"endless.wav", "zeros.wav"} and len(vectors(tmp_path / "out")) == 2
    assert all("is a pipe or a device" in row["message"] for row in failed.values())


def test_a_file_that_vanishes_after_the_list_was_made(tmp_path):
    fill(tmp_path / "in", 3)
    bulk(tmp_path / "out", tmp_path / "in", on_manifest=lambda _: (tmp_path / "in" / "a" / "00002.wav").unlink())
    assert list(errors(tmp_path / "out")) == ["a/00002.wav"] and len(vectors(tmp_path / "out")) == 2


def test_tars_parquet_and_parts_of_sounds_read_alike(tmp_path):
    write_tar(tmp_path / "x.tar", 9)
    write_parquet(tmp_path / "x.parquet", 18)
    (tmp_path / "list.csv").write_text("path,id\n" + "".join(f"{i}.wav,{i}\n" for i in range(18)))
    for i in range(18):
        (tmp_path / f"{i}.wav").write_bytes(tone_file(i))
    (tmp_path / "cut.csv").write_text("path,id,start_s,end_s\n0.wav,cut,0.01,0.03\n0.wav,late,5,6\n0.wav,long,0,9\n")
    for name in ("x.tar", "x.parquet", "list.csv", "cut.csv"):
        # One sound a batch, because a fake's vectors depend on their neighbours.
        bulk(tmp_path / f"out-{name}", tmp_path / name, settings=Settings(part_rows=1))
    by_file, by_row = vectors(tmp_path / "out-list.csv"), vectors(tmp_path / "out-x.parquet")
    for i in range(18):
        assert by_row[f"x.parquet:{i}"]["vector"] == by_file[str(i)]["vector"]
    for i, row in enumerate(vectors(tmp_path / "out-x.tar").values()):
        assert row["vector"] == by_file[str(2 * i)]["vector"] and row["member"] == f"{i:05d}.wav"
    cut = vectors(tmp_path / "out-cut.csv")["cut"]
    assert cut["duration_s"] == pytest.approx(0.02, abs=1e-4)
    said = {name: row["message"] for name, row in errors(tmp_path / "out-cut.csv").items()}
    assert "part that begins at 5 s" in said["late"] and "part that ends at 9 s" in said["long"]


def test_urls_read_like_files(tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: no URLs")
    system = fsspec.filesystem("memory")
    fill(tmp_path / "in", 4)
    for path in (tmp_path / "in").rglob("*.*"):
        system.pipe(f"/bulk/{path.relative_to(tmp_path / 'in')}", path.read_bytes())
    write_tar(tmp_path / "x.tar", 3)
    system.pipe("/bulk-tar/x.tar", (tmp_path / "x.tar").read_bytes())
    for name, given in (("file", tmp_path / "in"), ("url", "memory://bulk")):
        bulk(tmp_path / name, given)
    for name, given in (("tar", tmp_path / "x.tar"), ("tar-url", "memory://bulk-tar/x.tar")):
        bulk(tmp_path / name, given)
    for here, there in (("file", "url"), ("tar", "tar-url")):
        mine, theirs = vectors(tmp_path / here), vectors(tmp_path / there)
        assert len(mine) > 2
        assert {n: r["vector"] for n, r in mine.items()} == {n: r["vector"] for n, r in theirs.items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_formats_hold_the_same_vectors(tmp_path, dtype):
    fill(tmp_path / "in", 11)
    bulk(tmp_path / "exact", tmp_path / "in")
    exact = np.array([row["vector"] for row in vectors(tmp_path / "exact").values()], np.float32)
    for kind in ("parquet", "npy"):
        bulk(tmp_path / kind, tmp_path / "in", settings=Settings(kind, dtype, part_rows=8))
    tables = [pq.read_table(path) for path in sorted((tmp_path / "parquet" / "vectors").iterdir())]
    meta = [pq.read_table(path) for path in sorted((tmp_path / "npy" / "metadata").iterdir())]
    arrays = [np.load(path) for path in sorted((tmp_path / "npy" / "emb").iterdir())]
    assert [len(a) for a in arrays] == [t.num_rows for t in meta] == [8, 3]
    for table, array, told in zip(tables, arrays, meta):
        assert table.schema.field("vector").type.list_size == DIM
        flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        assert str(flat.dtype) == str(array.dtype) == dtype
        assert np.array_equal(flat.reshape(-1, DIM), array)
        assert table.drop(["vector", "stage", "error"]).to_pylist() == told.to_pylist()
    values = np.concatenate(arrays).astype(np.float32)
    if dtype == "int8":
        values *= np.concatenate([t["scale"].to_numpy() for t in meta])[:, None]
    largest = np.abs(exact).max(1, keepdims=True)
    assert (np.abs(values - exact) <= {"float32": 0, "float16": 2**-11, "int8": 0.5001 / 127}[dtype] * largest).all()


def test_groups_do_not_depend_on_how_fast_sounds_come(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "GROUP_CLIPS", 5)
    monkeypatch.setattr(reading_module, "GROUP_S", 0.2)
    fill(tmp_path / "in", 60)
    trees, batches = [], []
    for i, (threads, ahead) in enumerate([(1, 1), (7, 3), (3, 500)]):
        monkeypatch.setattr(reading_module, "AHEAD_CLIPS", ahead)
        encoder = FakeEncoder()
        bulk(
            tmp_path / f"out{i}", tmp_path / "in", encoder=encoder, num_threads=threads, settings=Settings(part_rows=16)
        )
        trees.append(tree(tmp_path / f"out{i}"))
        batches.append(encoder.batches)
    assert trees[0] == trees[1] == trees[2] and batches[0] == batches[1] == batches[2]
    assert max(batches[0]) <= 5 and sum(batches[0]) == 60


def test_processes_that_decode_give_the_same_bytes(tmp_path):
    fill(tmp_path / "in", 30)
    break_twelve_ways(tmp_path / "in" / "broken")
    write_tar(tmp_path / "x.tar", 4)
    write_parquet(tmp_path / "x.parquet", 6)
    inputs = [tmp_path / name for name in ("in", "x.tar", "x.parquet")]
    bulk(tmp_path / "threads", *inputs)
    make, names = FakeEncoder, [str(path) for path in inputs]
    engine = LocalEngine(2, in_processes=True)
    report = run_bulk(names, tmp_path / "processes", make, settings=EIGHT, engine=engine)
    assert tree(tmp_path / "processes") == tree(tmp_path / "threads") and report.progress.num_failed == 12
    assert report.stage_s["decode"] > 0


def test_a_decoding_process_that_dies_ends_the_run_and_not_the_sounds(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "GROUP_CLIPS", 2)
    monkeypatch.setattr(reading_module, "AHEAD_CLIPS", 2)

    class Killing(FakeEncoder):
        def encode_clips(self, clips, *, instruction=None):
            for child in multiprocessing.active_children() if clips else ():
                child.kill()
            return super().encode_clips(clips)

    fill(tmp_path / "in", 40)
    inputs, engine = [str(tmp_path / "in")], LocalEngine(1, in_processes=True)
    with pytest.raises(BackendError, match="a process that decodes sounds has died"):
        run_bulk(inputs, tmp_path / "out", Killing, settings=EIGHT, engine=engine)
    assert bulk(tmp_path / "out", tmp_path / "in").finished and errors(tmp_path / "out") == {}


def test_a_second_start_does_only_what_is_missing(tmp_path):
    folder = fill(tmp_path / "in", 40)
    out = tmp_path / "out"
    bulk(out, folder)
    before = tree(out)
    encoder = FakeEncoder()
    report = bulk(out, folder, encoder=encoder)
    assert report.num_parts_kept == 5 and encoder.batches == [] and tree(out) == before
    (out / "vectors" / "part-000001.parquet").write_bytes(b"damaged")
    same_size = bytearray(before["vectors/part-000003.parquet"])
    same_size[40] ^= 1
    (out / "vectors" / "part-000003.parquet").write_bytes(same_size)
    (out / "vectors" / "part-000009.parquet.tmp").write_bytes(b"half")
    report = bulk(out, folder, encoder=encoder)
    assert report.num_parts_redone == 2 and encoder.batches == [8, 8] and tree(out) == before


def test_stopping_finishes_the_part_in_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "GROUP_CLIPS", 2)
    folder = fill(tmp_path / "in", 40)
    stop = threading.Event()
    report = bulk(tmp_path / "out", folder, stop=stop, on_progress=lambda p: p.num_done == 10 and stop.set())
    assert not report.finished and report.progress.num_done == 16
    assert len((tmp_path / "out" / "ledger.jsonl").read_text().splitlines()) == 2
    assert bulk(tmp_path / "out", folder).finished
    bulk(tmp_path / "straight", folder)
    assert tree(tmp_path / "out") == tree(tmp_path / "straight")


def test_failed_sounds_can_be_tried_again(tmp_path):
    folder = fill(tmp_path / "in", 20)
    good = (folder / "a" / "00004.wav").read_bytes()
    (folder / "a" / "00004.wav").write_bytes(b"x" * len(good))
    encoder = FakeEncoder()
    assert bulk(tmp_path / "out", folder).progress.num_failed == 1
    (folder / "a" / "00004.wav").write_bytes(good)
    report = bulk(tmp_path / "out", folder, encoder=encoder, retry_errors=True)
    assert report.progress.num_failed == 0 and encoder.batches == [8] and errors(tmp_path / "out") == {}
    bulk(tmp_path / "straight", folder)
    assert tree(tmp_path / "out") == tree(tmp_path / "straight")


def test_what_the_model_refuses_fails_alone(tmp_path):
    class Choosy(FakeEncoder):
        def encode_clips(self, clips, *, instruction=None):
            if any(len(clip.samples) == 800 for clip in clips):
                raise AudioError("800 samples are not to my taste")
            vectors = super().encode_clips(clips)
            vectors[[i for i, clip in enumerate(clips) if len(clip.samples) == 960]] = np.nan
            return vectors

    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(10):
        soundfile.write(folder / f"{i}.wav", tone(i), 16000)
    bulk(tmp_path / "out", folder, encoder=Choosy())
    failed = errors(tmp_path / "out")
    assert {n: (r["stage"], r["error"]) for n, r in failed.items()} == {
        "0.wav": ("encode", "AudioError"),
        "7.wav": ("encode", "AudioError"),
        "1.wav": ("encode", "InputError"),
        "8.wav": ("encode", "InputError"),
    }
    assert len(vectors(tmp_path / "out")) == 6


def test_a_fault_of_the_machine_stops_the_run_and_keeps_what_is_done(tmp_path):
    class Breaking(FakeEncoder):
        def encode_clips(self, clips, *, instruction=None):
            if clips and len(self.batches) == 3:
                raise RuntimeError("out of memory")
            return super().encode_clips(clips)

    folder = fill(tmp_path / "in", 40)
    with pytest.raises(RuntimeError, match="out of memory"):
        bulk(tmp_path / "out", folder, encoder=Breaking())
    encoder = FakeEncoder()
    assert bulk(tmp_path / "out", folder, encoder=encoder).finished and encoder.batches == [8, 8]


def test_nothing_else_is_done_in_the_same_folder(tmp_path):
    folder, out = fill(tmp_path / "in", 9), tmp_path / "out"
    bulk(out, folder)
    before = tree(out)
    with pytest.raises(FingerprintError, match="id 'fake' there, 'other' now"):
        bulk(out, folder, encoder=FakeEncoder("other"))
    with pytest.raises(InputError, match="other settings: dtype 'float32' there, 'int8' now"):
        bulk(out, folder, settings=Settings(dtype="int8", part_rows=8))
    with pytest.raises(InputError, match=r"is for 9 sounds of .*/in \(.*but the input is 5 sounds of .*/in/a \("):
        bulk(out, folder / "a")
    with pytest.raises(InputError, match="is no run's folder"):
        bulk(folder, folder)
    assert not (folder / "lock").exists() and tree(out) == before
    # The same sounds named otherwise are the same manifest only if ids and paths are.
    (tmp_path / "list.csv").write_text("path,id\n")
    with pytest.raises(InputError, match="no sound was found"):
        bulk(out, tmp_path / "list.csv")
    assert tree(out) == before


def test_damaged_records_are_named(tmp_path):
    folder, out = fill(tmp_path / "in", 20), tmp_path / "out"
    bulk(out, folder)
    lines = (out / "ledger.jsonl").read_text()
    (out / "ledger.jsonl").write_text(lines[:-30])
    assert bulk(out, folder).num_parts_kept == 2
    assert (out / "ledger.jsonl").read_text() == lines
    (out / "ledger.jsonl").write_text("{}\n" + lines)
    with pytest.raises(FileFormatError, match="ledger.jsonl: line 1 is damaged"):
        bulk(out, folder)
    (out / "run.json").write_text(json.dumps({"version": 9}))
    with pytest.raises(FileFormatError, match="is of version 9; wanted 1"):
        bulk(out, folder)


def test_wrong_settings_are_named():
    for values, said in (
        ({"format": "xml"}, "format is 'xml'; wanted one of"),
        ({"dtype": "int4"}, "dtype is 'int4'; wanted one of"),
        ({"part_rows": 0}, "part_rows is 0"),
    ):
        with pytest.raises(InputError, match=said):
            Settings(**values)
