"""A server on loopback with a tiny model, an index of twelve sounds, and a tiny reranker."""

import base64
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

import harken
from harken.engine.index import Index
from harken.engine.rerank.load import load_reranker

from ... import tiny

pytest.importorskip("fastapi", reason="the HTTP server is an extra: pip install harken[serve]")

import uvicorn  # noqa: E402

from harken.engine.serve.app import create_app  # noqa: E402
from harken.engine.serve.catalog import Catalog  # noqa: E402
from harken.engine.serve.limits import Limits  # noqa: E402
from harken.engine.serve.service import Service  # noqa: E402

NUM_SOUNDS = 12


@dataclass
class Served:
    """A running server, and what it serves."""

    url: str
    service: Service
    sounds: list[Path]

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def post(self, path: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.post(path, **options)

    def get(self, path: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **options)


def data_url(path: Path) -> str:
    return "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return tiny.qwen2_audio(tmp_path_factory.mktemp("serve") / "model")


@pytest.fixture(scope="session")
def embedder(checkpoint):
    return harken.load(checkpoint, recipe="qwen2-audio", device="cpu")


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    paths = [folder / f"sound {i}.wav" for i in range(NUM_SOUNDS)]
    for i, path in enumerate(paths):
        soundfile.write(path, 0.5 * tiny.wave(4000 + 1500 * i, seed=i), 16000)
    return paths


@pytest.fixture(scope="session")
def catalog(embedder, sounds) -> Catalog:
    metadata = {
        "caption": [f"noise number {i}" for i in range(NUM_SOUNDS)],
        "tags": [["even" if i % 2 == 0 else "odd", "noise"] for i in range(NUM_SOUNDS)],
        "duration_s": [(4000 + 1500 * i) / 16000 for i in range(NUM_SOUNDS)],
    }
    vectors = embedder.encode_audio(sounds)
    index = Index.build(vectors, ids=[p.name for p in sounds], metadata=metadata, fingerprint=embedder.fingerprint)
    return Catalog(index, sounds[0].parent)


@pytest.fixture(scope="session")
def reranker(checkpoint):
    return load_reranker(checkpoint, device="cpu")


def run(app) -> tuple[uvicorn.Server, threading.Thread, str]:
    """Serve an application in a thread, on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=10))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for _ in range(200):
        try:
            if httpx.get(url + "/ready", trust_env=False).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    return server, thread, url


@pytest.fixture(scope="session")
def served(embedder, catalog, reranker, sounds):
    service = Service(embedder, name="tiny", catalog=catalog, reranker=reranker)
    server, thread, url = run(create_app(lambda: service))
    yield Served(url, service, sounds)
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def serving(embedder, catalog):
    """Makes servers with other limits."""
    running = []

    def make(limits: Limits, **options) -> Served:
        service = Service(embedder, name="tiny", catalog=catalog, limits=limits)
        server, thread, url = run(create_app(lambda: service, limits=limits, **options))
        running.append((server, thread))
        return Served(url, service, [])

    yield make
    for server, thread in running:
        server.should_exit = True
        thread.join(20)


def vectors(answer: httpx.Response) -> np.ndarray:
    """The vectors of an embeddings answer, in the order of their index."""
    assert answer.status_code == 200, answer.text
    rows = sorted(answer.json()["data"], key=lambda row: row["index"])
    return np.array([row["embedding"] for row in rows], np.float32)


COMMAND = [sys.executable, "-P", "-c", "from harken.engine.cli import main; main()", "serve"]


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving_command(options: list[str], port: int, stop: int = signal.SIGTERM) -> Iterator[str]:
    """`harken serve` as a process, from when it is ready; at the end it is stopped by a signal and has to obey."""
    process = subprocess.Popen([*COMMAND, *options, "--port", str(port)], stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                if httpx.get(url + "/ready", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(stop)
        code = process.wait(60)
    assert code in (0, -stop)
