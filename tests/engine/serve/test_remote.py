"""URLs are read from hosts on the list, at public addresses, within bounds; and from nowhere else."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("httpx", reason="the HTTP server is an extra: pip install harken[serve]")

from harken.engine.serve.remote import Remote
from harken.errors import InputError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        where = {"/loop": "/loop", "/away": "http://elsewhere.test/a.wav", "/near": "/a.wav"}.get(self.path)
        if where is not None:
            self.send_response(302)
            self.send_header("Location", where)
            self.end_headers()
            return
        self.send_response(200 if self.path.startswith("/a") else 404)
        self.end_headers()
        self.wfile.write(b"x" * (5000 if self.path == "/a.wav?large" else 100))

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def remote():
    return Remote(["localhost"], max_bytes=1000, timeout_s=5, is_allowed=lambda address: True)


def test_a_file_of_a_listed_host_is_read(remote, port):
    assert remote.read(f"http://localhost:{port}/a.wav", "input[0]") == b"x" * 100
    assert remote.read(f"http://localhost:{port}/near", "input[0]") == b"x" * 100


@pytest.mark.parametrize(
    "path, said",
    [
        ("/nothing", "answered 404"),
        ("/a.wav?large", "larger than the 1000 bytes"),
        ("/loop", "more than 3 redirects"),
        ("/away", "does not read from that URL"),
    ],
)
def test_what_goes_wrong_is_named(remote, port, path, said):
    with pytest.raises(InputError, match=f"^input\\[0\\]: .*{said}"):
        remote.read(f"http://localhost:{port}{path}", "input[0]")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a.wav",
        "file:///etc/passwd",
        "ftp://localhost/a.wav",
        "http://localhost.evil.test/a.wav",
        "http://localhost@evil.test/a.wav",
        "http://[::1/a.wav",
        "a.wav",
        "",
    ],
)
def test_other_hosts_and_schemes_are_refused(remote, port, url):
    with pytest.raises(InputError, match="does not read from that URL|not a URL"):
        remote.read(url.format(port=port), "input[0]")


def test_a_listed_host_at_a_private_address_is_refused(port):
    with pytest.raises(InputError, match="not public"):
        Remote(["localhost"]).read(f"http://localhost:{port}/a.wav", "input[0]")


def test_nothing_is_read_by_default():
    with pytest.raises(InputError, match="data URLs alone"):
        Remote().read("https://example.org/a.wav", "input[0]")


def test_a_host_that_does_not_answer_is_named(remote):
    with pytest.raises(InputError, match="cannot be read from localhost"):
        remote.read("http://localhost:9/a.wav", "input[0]")
