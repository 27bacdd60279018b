"""What is too much is turned away before it costs anything, and what waits for a client that left is dropped."""

import threading
import time

import httpx
import pytest

from harken.engine.serve.app import create_app
from harken.engine.serve.limits import Limits
from harken.errors import InputError, ModelError

from .conftest import run


class SlowEmbedder:
    """An embedder that waits at a gate before it encodes."""

    def __init__(self, embedder):
        self._embedder, self.gate, self.num_texts = embedder, threading.Event(), 0

    def __getattr__(self, name):
        return getattr(self._embedder, name)

    def encode_text(self, texts, **options):
        self.gate.wait(30)
        self.num_texts += len(texts)
        return self._embedder.encode_text(texts, **options)


@pytest.fixture
def slow(serving, embedder):
    served = serving(Limits(max_pending_tokens=100))
    served.service.embedder = SlowEmbedder(embedder)
    yield served
    served.service.embedder.gate.set()


@pytest.mark.parametrize(
    "limits, body, status, said",
    [
        (Limits(max_body_bytes=1000), {"input": "x" * 2000}, 413, "larger than the 1000 bytes"),
        (Limits(max_items=2), {"input": ["a", "b", "c"]}, 400, "3 items; at most 2"),
        (Limits(max_request_tokens=20), {"input": "a dog barks " * 20}, 413, "at most 20 are allowed"),
    ],
)
def test_requests_that_ask_for_too_much(serving, limits, body, status, said):
    answer = serving(limits).post("/v1/embeddings", json=body)
    assert answer.status_code == status and said in answer.json()["error"]["message"]


def test_too_many_seconds_of_sound(serving, sounds):
    files = [("files", path.read_bytes()) for path in sounds]
    answer = serving(Limits(max_audio_s=2.0)).post("/v1/embeddings/files", files=files)
    assert answer.status_code == 413 and "seconds of sound" in answer.json()["error"]["message"]


def test_a_body_without_a_length_is_counted_while_it_comes(serving):
    served = serving(Limits(max_body_bytes=10_000))
    pieces = (b" " * 1000 for _ in range(100))
    answer = served.post("/v1/embeddings", content=pieces, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_full_queue_answers_429_and_when_to_come_back(slow):
    threads = [threading.Thread(target=slow.post, args=["/v1/embeddings"], kwargs={"json": {"input": ["a"] * 5}})]
    threads[0].start()
    while slow.service.queue.num_pending_tokens < 80:
        time.sleep(0.01)
    answer = slow.post("/v1/embeddings", json={"input": ["b"] * 5})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["type"] == "rate_limit_error"
    slow.service.embedder.gate.set()
    threads[0].join()
    assert slow.post("/v1/embeddings", json={"input": "b"}).status_code == 200


def test_a_client_that_leaves_takes_its_items_along(slow):
    first = threading.Thread(target=slow.post, args=["/v1/embeddings"], kwargs={"json": {"input": "a"}})
    first.start()
    while not slow.service.queue.num_pending_tokens:
        time.sleep(0.01)
    alone = slow.service.queue.num_pending_tokens
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(slow.url + "/v1/embeddings", json={"input": ["b"] * 3}, timeout=0.5, trust_env=False)
    for _ in range(200):
        if slow.service.queue.num_pending_tokens == alone:
            break
        time.sleep(0.02)
    assert slow.service.queue.num_pending_tokens == alone
    slow.service.embedder.gate.set()
    first.join()
    assert slow.service.embedder.num_texts == 1


def test_an_api_key_is_asked_for_where_there_is_one(serving):
    served = serving(Limits(), api_key="open sesame")
    ask = lambda **headers: served.post("/v1/embeddings", json={"input": "a"}, headers=headers).status_code
    assert ask() == ask(Authorization="Bearer wrong") == ask(Authorization="open sesame") == 401
    assert ask(Authorization="Bearer open sesame") == 200
    assert served.get("/health").status_code == served.get("/").status_code == served.get("/ready").status_code == 200
    assert served.get("/metrics").status_code == served.get("/v1/index").status_code == 401


def test_before_the_model_is_loaded_only_health_is_well(embedder):
    def load():
        raise ModelError("no weights in /secret/place")

    server, thread, url = None, None, None
    try:
        app = create_app(load)
        import uvicorn

        config = uvicorn.Config(app, port=0, log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        assert httpx.get(url + "/health", trust_env=False).status_code == 200
        answer = httpx.get(url + "/ready", trust_env=False)
        assert answer.status_code == 503 and "secret" not in answer.text
        assert httpx.post(url + "/v1/embeddings", json={"input": "a"}, trust_env=False).status_code == 503
    finally:
        server.should_exit = True
        thread.join(10)


def test_metrics_count_what_happened(serving):
    served = serving(Limits())
    served.post("/v1/embeddings", json={"input": ["a", "b"]})
    served.post("/v1/embeddings", json={"input": ""})
    page = served.get("/metrics").text
    assert 'harken_requests_total{route="/v1/embeddings",status="200"} 1.0' in page
    assert 'harken_requests_total{route="/v1/embeddings",status="400"} 1.0' in page
    assert 'harken_items_total{kind="text"} 2.0' in page and "harken_failed_items_total 1.0" in page
    assert "harken_pending_tokens 0.0" in page


def test_limits_must_leave_room():
    with pytest.raises(InputError, match="max_items is 0"):
        Limits(max_items=0)


def test_a_server_that_stops_answers_what_it_took(embedder, catalog):
    from harken.engine.serve.service import Service

    service = Service(embedder, name="tiny", catalog=catalog)
    service.embedder = SlowEmbedder(embedder)
    server, thread, url = run(create_app(lambda: service))
    answers = []
    ask = lambda: answers.append(httpx.post(url + "/v1/embeddings", json={"input": "a"}, timeout=30, trust_env=False))
    client = threading.Thread(target=ask)
    client.start()
    while not service.queue.num_pending_tokens:
        time.sleep(0.01)
    server.should_exit = True
    time.sleep(0.3)
    service.embedder.gate.set()
    client.join(20)
    thread.join(20)
    assert answers[0].status_code == 200 and not thread.is_alive()
