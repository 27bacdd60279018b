"""Every kind of input becomes the same list each time; what is missing, doubled or no input is told before work begins."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.engine.bulk import Manifest, freeze
from harken.engine.bulk.files import expand
from harken.errors import FileFormatError, InputError

from .sounds import fill, write_parquet, write_tar


@pytest.fixture
def frozen(tmp_path):
    def make(*inputs, **options):
        return freeze([str(i) for i in inputs], tmp_path / "manifest.parquet", **options)

    return make


def ids(manifest):
    return [entry.id for entry in manifest.entries(0, manifest.num_rows)]


def test_a_folder_in_the_order_of_its_names(frozen, tmp_path):
    folder = fill(tmp_path / "in", 5)
    (folder / "a" / "notes.txt").write_text("no sound")
    manifest = frozen(folder)
    assert ids(manifest) == ["a/00000.wav", "a/00002.wav", "a/00004.wav", "b/00001.flac", "b/00003.flac"]
    assert manifest.num_bytes == sum(p.stat().st_size for p in folder.rglob("*.*") if p.suffix != ".txt")
    assert manifest == Manifest.open(manifest.path)
    assert frozen(folder).sha256 == manifest.sha256
    (folder / "a" / "00000.wav").write_bytes(b"longer")
    assert frozen(folder).sha256 != manifest.sha256


def test_rows_are_read_by_range(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr("harken.engine.bulk.manifest.ROW_GROUP", 4)
    manifest = frozen(fill(tmp_path / "in", 23))
    whole = manifest.entries(0, 23)
    for start in range(23):
        for stop in (start, start + 1, start + 6, 23):
            assert manifest.entries(start, stop) == whole[start:stop]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_lists_with_parts_of_sounds(frozen, tmp_path, kind):
    fill(tmp_path, 2)
    rows = [
        {"path": "a/00000.wav", "id": "first", "start_s": None, "end_s": None},
        {"path": str(tmp_path / "b/00001.flac"), "id": None, "start_s": 0.01, "end_s": 0.03},
        {"path": "gone.wav", "id": None, "start_s": 0.5, "end_s": None},
    ]
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        cell = lambda value: "" if value is None else str(value)
        lines = [list(rows[0]), *([cell(v) for v in row.values()] for row in rows)]
        path.write_text("\n".join(("\t" if kind == "tsv" else ",").join(line) for line in lines) + "\n")
    manifest = frozen(path)
    first, second, third = manifest.entries(0, 3)
    assert (first.id, first.uri) == ("first", str(tmp_path / "a/00000.wav"))
    assert (second.id, second.start_s, second.end_s) == (f"{tmp_path}/b/00001.flac#0.01-0.03", 0.01, 0.03)
    assert third.id == "gone.wav#0.5-" and third.size_bytes is None
    assert (manifest.num_missing, manifest.missing) == (1, (str(tmp_path / "gone.wav"),))


def test_tars_by_pattern(frozen, tmp_path):
    for i in range(3):
        write_tar(tmp_path / f"{i:03d}.tar", 2, first=2 * i)
    manifest = frozen(tmp_path / "{000..002}.tar")
    assert ids(manifest)[:3] == ["000.tar/00000.wav", "000.tar/00001.wav", "001.tar/00002.wav"]
    assert frozen(tmp_path / "*.tar").sha256 == manifest.sha256
    whole = (tmp_path / "000.tar").read_bytes()
    entry = manifest.entries(1, 2)[0]
    assert whole[entry.offset_bytes : entry.offset_bytes + 4] == b"RIFF"
    (tmp_path / "000.tar").write_bytes(whole[: entry.offset_bytes + 50])
    with pytest.raises(FileFormatError, match=r"000\.tar: ends inside '00001\.wav'"):
        frozen(tmp_path / "000.tar")
    (tmp_path / "000.tar").write_bytes(b"no tar")
    with pytest.raises(FileFormatError, match="no uncompressed tar"):
        frozen(tmp_path / "000.tar")


def test_parquet_with_sounds(frozen, tmp_path):
    manifest = frozen(write_parquet(tmp_path / "train.parquet", 6))
    assert ids(manifest) == [f"train.parquet:{i}" for i in range(6)]
    assert [e.row for e in manifest.entries(0, 6)] == list(range(6))


def test_urls(frozen, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: no URLs")
    system = fsspec.filesystem("memory")
    for name in ("x/b.wav", "x/a.wav", "x/y/c.wav", "x/t.txt"):
        system.pipe(f"/{name}", b"RIFF")
    manifest = frozen("memory://x")
    assert ids(manifest) == ["a.wav", "b.wav", "y/c.wav"]
    assert manifest.entries(0, 1)[0].uri == "memory:///x/a.wav" and manifest.num_missing == 0
    assert ids(frozen("memory://x/*.wav")) == ["memory:///x/a.wav", "memory:///x/b.wav"]


def test_patterns():
    assert expand("s-{8..11}.tar") == ["s-8.tar", "s-9.tar", "s-10.tar", "s-11.tar"]
    assert expand("{a,b}/{08..09}.wav") == ["a/08.wav", "a/09.wav", "b/08.wav", "b/09.wav"]


def test_doubled_ids_are_refused_or_the_first_is_kept(frozen, tmp_path):
    fill(tmp_path, 3)
    path = tmp_path / "list.csv"
    path.write_text("path,id\na/00000.wav,x\na/00002.wav,y\nb/00001.flac,x\nb/00001.flac,x\n")
    with pytest.raises(InputError, match="1 ids stand for more than one sound: x; give each its own"):
        frozen(path)
    manifest = frozen(path, duplicates="first")
    assert ids(manifest) == ["x", "y"] and manifest.num_dropped == 2
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_one_sound_under_two_ids_is_told(frozen, tmp_path):
    fill(tmp_path, 1)
    path = tmp_path / "list.csv"
    path.write_text("path,id,end_s\na/00000.wav,x,\na/00000.wav,y,\na/00000.wav,z,0.01\n")
    manifest = frozen(path)
    assert (manifest.num_rows, manifest.num_repeated, manifest.repeated) == (3, 1, ("y",))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "name,id\nx.wav,1\n", r"columns are \['name', 'id'\]; wanted one of"),
        ("l.csv", "path,start_s\nx.wav,soon\n", "row 1: start_s is 'soon'; wanted seconds"),
        ("l.csv", "path,start_s,end_s\nx.wav,2,1\n", "row 1: goes from 2.0 s to 1.0 s"),
        ("l.csv", "path\n\n", "no sound was found"),
        ("l.jsonl", '{"path": "x.wav"}\n{"path"', "no list that can be read"),
        ("l.jsonl", "[1]\n", "wanted a JSON object a line"),
        ("l.jsonl", '{"path": 3}\n', "path is 3; wanted a path"),
        ("l.parquet", "text", "no Parquet file that can be read"),
        ("l.txt", "x.wav", "is no input that is known"),
    ],
)
def test_what_is_no_list_is_named(frozen, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises((InputError, FileFormatError), match=said):
        frozen(tmp_path / name)


def test_no_input(frozen, tmp_path):
    (tmp_path / "in").mkdir()
    for given, said in (("in", "no sound was found"), ("nowhere", "no such file or folder"), ("*.ogg", "nothing fits")):
        with pytest.raises(InputError, match=said):
            frozen(tmp_path / given)
    with pytest.raises(InputError, match="no input is named"):
        frozen()
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileFormatError, match="no manifest"):
        Manifest.open(tmp_path / "manifest.parquet")
