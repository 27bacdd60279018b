"""Sounds in S3 and behind HTTP give the bytes that local ones give; servers that stumble are asked again."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harken.engine.bulk import LocalEngine, Settings, fetch, run_bulk
from harken.errors import InputError

from .fake import FakeEncoder
from .sounds import fill, tone_file, write_parquet, write_tar
from .test_runner import errors, vectors

NUM_SOUNDS = 6


class Handler(SimpleHTTPRequestHandler):
    """Files with byte ranges; paths listed in `stumbles` answer 503 that many times."""

    stumbles: dict[str, int] = {}
    knows_ranges = True

    def do_GET(self):
        if self.stumbles.get(self.path, 0):
            self.stumbles[self.path] -= 1
            self.send_error(503)
            return
        path, wanted = self.translate_path(self.path), self.headers.get("Range")
        if wanted is None or not self.knows_ranges or not os.path.isfile(path):
            super().do_GET()
            return
        with open(path, "rb") as file:
            data = file.read()
        first, last = wanted.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "in", NUM_SOUNDS)
    write_tar(tmp_path / "in" / "x.tar", 3, first=100)
    write_parquet(tmp_path / "in" / "x.parquet", 4)
    return tmp_path / "in"


@pytest.fixture
def site(folder, monkeypatch):
    pytest.importorskip("aiohttp", reason="aiohttp is not installed: no http URLs")
    monkeypatch.setattr(Handler, "stumbles", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def bucket(folder, monkeypatch):
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: no S3 to test with")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: no s3 URLs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("corpus")
    system.put(str(folder), "corpus/in", recursive=True)
    yield "s3://corpus"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def bulk(out, *inputs):
    return run_bulk([str(i) for i in inputs], out, FakeEncoder, settings=Settings(part_rows=1), engine=LocalEngine(2))


def by_last_name(out):
    return {name.rsplit("/")[-1]: row["vector"] for name, row in vectors(out).items()}


def test_http(site, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "RETRIES_S", (0.0, 0.0))
    bulk(tmp_path / "local", folder, folder / "x.tar", folder / "x.parquet")
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("0*.*"))]
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{site}/{name}\n" for name in [*names, "gone.wav"]))
    Handler.stumbles = {f"/{names[0]}": 2, f"/{names[1]}": 3}
    report = bulk(tmp_path / "http", tmp_path / "list.csv", f"{site}/x.tar", f"{site}/x.parquet")
    assert report.progress.num_rows == NUM_SOUNDS + 1 + 3 + 4
    local, there = by_last_name(tmp_path / "local"), by_last_name(tmp_path / "http")
    del local[names[1].rsplit("/")[-1]]
    assert there == local and len(there) == NUM_SOUNDS - 1 + 3 + 4
    failed = {name.rsplit("/")[-1]: row for name, row in errors(tmp_path / "http").items()}
    assert set(failed) == {"gone.wav", names[1].rsplit("/")[-1]} and {r["stage"] for r in failed.values()} == {"read"}
    assert "there is no such file" in failed["gone.wav"]["message"]
    assert "503" in failed[names[1].rsplit("/")[-1]]["message"]


def test_a_list_behind_http_names_its_neighbours(site, folder, tmp_path):
    (folder / "list.csv").write_text("path,id\na/00000.wav,x\nb/00001.flac,y\n")
    bulk(tmp_path / "out", f"{site}/list.csv")
    assert set(vectors(tmp_path / "out")) == {"x", "y"}
    with pytest.raises(InputError, match="/no.csv: cannot be read"):
        bulk(tmp_path / "no", f"{site}/no.csv")


def test_s3(bucket, folder, tmp_path):
    bulk(tmp_path / "local", folder, folder / "x.tar", folder / "x.parquet")
    bulk(tmp_path / "s3", f"{bucket}/in", f"{bucket}/in/*.tar", f"{bucket}/in/x.parquet")
    local, there = vectors(tmp_path / "local"), vectors(tmp_path / "s3")
    assert len(there) == NUM_SOUNDS + 3 + 4
    assert {name: row["vector"] for name, row in there.items()} == {name: row["vector"] for name, row in local.items()}
    assert there["a/00000.wav"]["uri"] == f"{bucket}/in/a/00000.wav"
    again = bulk(tmp_path / "s3", f"{bucket}/in", f"{bucket}/in/*.tar", f"{bucket}/in/x.parquet")
    assert again.progress.num_now == 0
    with pytest.raises(InputError, match="nothing fits this pattern"):
        bulk(tmp_path / "none", f"{bucket}/in/*.zip")


def test_a_part_of_a_remote_sound(site, folder, tmp_path):
    (folder / "one.wav").write_bytes(tone_file(0))
    (tmp_path / "list.jsonl").write_text(f'{{"path": "{site}/one.wav", "end_s": 0.02}}\n')
    bulk(tmp_path / "out", tmp_path / "list.jsonl")
    (row,) = vectors(tmp_path / "out").values()
    assert row["duration_s"] == pytest.approx(0.02) and row["end_s"] == 0.02


def test_a_server_without_ranges_is_named(site, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "knows_ranges", False)
    (tmp_path / "list.csv").write_text(f"path\n{site}/a/00000.wav\n")
    bulk(tmp_path / "out", tmp_path / "list.csv")
    assert len(vectors(tmp_path / "out")) == 1
    bulk(tmp_path / "tar", f"{site}/x.tar")
    failed = errors(tmp_path / "tar")
    assert len(failed) == 3 and not vectors(tmp_path / "tar")
    assert all("bytes are there; wanted" in row["message"] for row in failed.values())
