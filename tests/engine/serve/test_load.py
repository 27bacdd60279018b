"""Two hundred clients at once: every answer right, bad items alone, those who leave forgotten, memory flat."""

import asyncio
import os
import random
import signal
import subprocess
import time

import httpx
import numpy as np

from harken.engine.index import Index
from harken.engine.vectors import made_with

from ... import tolerances
from .conftest import COMMAND, data_url, serving_command

NUM_CLIENTS = 200


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Load:
    """Clients that ask for texts and sounds of many lengths; some requests are bad, some clients leave."""

    def __init__(self, served, embedder, sounds):
        self.url, self.random = served.url, random.Random(0)
        self.texts = [" ".join(["a dog barks"] * n) for n in range(1, 9)]
        self.urls = [data_url(path) for path in sounds]
        self.wanted_texts, self.wanted_sounds = embedder.encode_text(self.texts), embedder.encode_audio(sounds)
        self.seconds, self.counts = [], {"right": 0, "bad": 0, "left": 0}

    async def client(self, http):
        kind = self.random.random()
        await (self.leave(http) if kind < 0.05 else self.bad(http) if kind < 0.06 else self.ask(http))

    async def ask(self, http):
        rows = [self.random.randrange(len(self.texts)) for _ in range(self.random.randint(1, 4))]
        body, wanted = {"input": [self.texts[i] for i in rows]}, self.wanted_texts[rows]
        if self.random.random() < 0.3:
            row = self.random.randrange(len(self.urls))
            part = {"type": "audio_url", "audio_url": {"url": self.urls[row]}}
            body, wanted = {"messages": [{"role": "user", "content": [part]}]}, self.wanted_sounds[[row]]
        start = time.perf_counter()
        answer = await http.post(self.url + "/v1/embeddings", json=body)
        while answer.status_code == 429:
            await asyncio.sleep(0.2)
            answer = await http.post(self.url + "/v1/embeddings", json=body)
        self.seconds.append(time.perf_counter() - start)
        got = np.array([row["embedding"] for row in answer.json()["data"]], np.float32)
        assert np.abs(got - wanted).max() < tolerances.SERVED
        self.counts["right"] += 1

    async def bad(self, http):
        answer = await http.post(self.url + "/v1/embeddings", json={"input": ["fine", " "]})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "input[1]"
        self.counts["bad"] += 1

    async def leave(self, http):
        try:
            await http.post(self.url + "/v1/embeddings", json={"input": self.texts}, timeout=0.01)
        except httpx.TimeoutException:
            pass
        self.counts["left"] += 1

    async def run(self):
        limits = httpx.Limits(max_connections=NUM_CLIENTS, max_keepalive_connections=NUM_CLIENTS)
        async with httpx.AsyncClient(limits=limits, timeout=120, trust_env=False) as http:
            await asyncio.gather(*(self.client(http) for _ in range(NUM_CLIENTS)))


def test_two_hundred_clients(served, embedder, sounds, record_property):
    load = Load(served, embedder, sounds)
    for _ in range(3):  # the allocator's arenas grow to their size
        asyncio.run(load.run())
    before = resident_bytes()
    load.seconds.clear()
    start = time.perf_counter()
    asyncio.run(load.run())
    rate = NUM_CLIENTS / (time.perf_counter() - start)
    grown = resident_bytes() - before
    assert sum(load.counts.values()) == 4 * NUM_CLIENTS and min(load.counts.values()) > 0
    assert served.service.queue.num_pending_tokens == 0
    assert grown < 64 << 20
    p99 = float(np.percentile(load.seconds, 99))
    record_property("p99_s", p99)
    record_property("requests_per_s", rate)
    print(f"{rate:.0f} requests/s, p99 {1e3 * p99:.0f} ms, {load.counts}, memory {grown >> 20:+d} MiB")


def test_a_killed_server_starts_again_and_a_stopped_one_leaves_in_peace(tmp_path, free_port, embedder):
    """The command itself, on an index of its own."""
    index = Index.build(
        embedder.encode_text(["a", "b"]),
        ids=["a", "b"],
        fingerprint=embedder.fingerprint,
        made_with=made_with(embedder),
    )
    index.save(tmp_path / "index.harken")
    for stop in (signal.SIGKILL, signal.SIGTERM):
        options = ["--index", str(tmp_path / "index.harken"), "--device", "cpu"]
        with serving_command(options, free_port, stop) as url:
            answer = httpx.post(url + "/v1/search", json={"query": "a", "k": 1}, trust_env=False, timeout=30)
            assert answer.json()["hits"][0]["name"] == "a"


def test_a_wrong_start_is_one_line(tmp_path):
    done = subprocess.run(
        [*COMMAND, "--index", str(tmp_path / "none.harken")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "there is no such index" in done.stderr and "Traceback" not in done.stderr
