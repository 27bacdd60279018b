"""The HTTP captioner: what it sends, what it tries again, what it gives up, and that one failure stays alone."""

import base64
import io
import socket
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from harken.engine.audio import Waveform
from harken.errors import BackendError
from harken.training.captions import NoReply, Request
from harken.training.captions import endpoint as endpoint_module
from harken.training.captions.endpoint import EndpointCaptioner

from .fake import Endpoint, completion


def ask(endpoint: Endpoint, requests, **options):
    captioner = EndpointCaptioner(endpoint.url, "m", **{"first_wait_s": 0.01, "timeout_s": 5.0, **options})
    try:
        return captioner.replies(requests)
    finally:
        captioner.close()


def request(text: str = "Say it", **options) -> Request:
    return Request(text, "Be brief", (("a", "b"),), text, **options)


def test_messages_sampling_sound_and_key_are_sent_as_the_api_wants_them():
    samples = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    with Endpoint(lambda body, turn: (200, {}, completion("Rain"))) as endpoint:
        asked = request(audio=Waveform(samples, 16000, "x"), max_tokens=7, temperature=0.2, top_p=0.8, seed=5)
        assert ask(endpoint, [asked], api_key="secret", max_tokens_field="max_completion_tokens") == ["Rain"]
    (body,), (headers,) = endpoint.bodies, endpoint.headers
    assert headers["path"] == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    sound, text = body["messages"][-1]["content"]
    assert text == {"type": "text", "text": "Say it"} and sound["input_audio"]["format"] == "wav"
    sent, rate = soundfile.read(io.BytesIO(base64.b64decode(sound["input_audio"]["data"])))
    assert rate == 16000 and np.abs(sent - samples).max() < 1e-4
    assert (body["model"], body["max_completion_tokens"], body["temperature"], body["top_p"], body["seed"]) == (
        "m", 7, 0.2, 0.8, 5
    )  # fmt: skip


def test_replies_come_in_the_order_of_the_requests():
    others = threading.Event()

    def script(body, turn):
        text = body["messages"][-1]["content"]
        if text == "0":
            others.wait(5)
        elif text == "2":
            others.set()
        return 200, {}, completion(f"to {text}")

    with Endpoint(script) as endpoint:
        assert ask(endpoint, [request(str(i)) for i in range(6)], num_threads=3) == [f"to {i}" for i in range(6)]


@pytest.mark.parametrize("trouble", [429, 500, 503, 408])
def test_a_busy_server_is_asked_again(trouble):
    script = lambda body, turn: (trouble, {}, {}) if turn < 2 else (200, {}, completion("Rain"))
    with Endpoint(script) as endpoint:
        assert ask(endpoint, [request()]) == ["Rain"] and len(endpoint.bodies) == 3


@pytest.fixture
def sleeps(monkeypatch) -> list[float]:
    """What the client wanted to sleep, on a clock that stands still."""
    slept: list[float] = []
    monkeypatch.setattr(endpoint_module, "time", SimpleNamespace(sleep=slept.append, monotonic=lambda: 100.0))
    return slept


def test_the_wait_the_server_names_is_kept(sleeps):
    script = lambda body, turn: (429, {"Retry-After": "7"}, {}) if turn == 0 else (200, {}, completion("Rain"))
    with Endpoint(script) as endpoint:
        assert ask(endpoint, [request()]) == ["Rain"] and sleeps == [0.0, 7.0, 0.0]


def test_without_one_waits_double(sleeps):
    with Endpoint(lambda body, turn: (503, {"Retry-After": "soon"}, {})) as endpoint:
        ask(endpoint, [request()], max_tries=4, first_wait_s=1.0)
    waits = [slept for slept in sleeps if slept]
    assert len(waits) == 3 and all(0.75 <= wait / 2**i <= 1.25 for i, wait in enumerate(waits))


def test_what_stays_broken_is_given_up_alone():
    def script(body, turn):
        text = body["messages"][-1]["content"]
        if text == "busy":
            return 503, {}, b"overloaded"
        if text == "bad":
            return 400, {}, b"too long"
        return 200, {}, completion({"none": None, "empty": "  "}.get(text, "Rain"))

    with Endpoint(script) as endpoint:
        texts = ["fine", "busy", "bad", "none", "empty", "fine"]
        got = ask(endpoint, [request(t) for t in texts], max_tries=2)
    assert got[0] == got[5] == "Rain" and all(isinstance(one, NoReply) for one in got[1:5])
    assert (
        "busy: after 2 tries status 503: overloaded" in got[1].reason and "bad: status 400: too long" in got[2].reason
    )
    assert "empty" in got[3].reason
    assert sum(body["messages"][-1]["content"] == "bad" for body in endpoint.bodies) == 1


@pytest.mark.parametrize("content", [b"<html>", {"choices": []}, {"choices": [{}]}, [1]])
def test_what_is_no_completion_is_told(content):
    with Endpoint(lambda body, turn: (200, {}, content)) as endpoint:
        (got,) = ask(endpoint, [request()])
    assert isinstance(got, NoReply) and "no chat completion" in got.reason


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run_at_once(status):
    with Endpoint(lambda body, turn: (status, {}, b"no")) as endpoint:
        with pytest.raises(BackendError, match=f"status {status}"):
            ask(endpoint, [request(str(i)) for i in range(3)])
        assert len(endpoint.bodies) <= 3


def test_an_endpoint_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    captioner = EndpointCaptioner(url, "m", max_tries=2, first_wait_s=0.01)
    with pytest.raises(BackendError, match=f"{url}: does not answer after 2 tries"):
        captioner.replies([request()])
    captioner.close()


def test_a_reply_that_takes_too_long_is_asked_for_again():
    release = threading.Event()

    def script(body, turn):
        if turn == 0:
            release.wait(10)
        return 200, {}, completion("Rain")

    with Endpoint(script) as endpoint:
        assert ask(endpoint, [request()], timeout_s=0.2) == ["Rain"]
        release.set()


def test_no_more_requests_leave_than_allowed_a_minute(sleeps):
    with Endpoint(lambda body, turn: (200, {}, completion("Rain"))) as endpoint:
        ask(endpoint, [request(str(i)) for i in range(5)], requests_per_minute=120.0, num_threads=5)
    assert sorted(sleeps) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_the_key_of_the_environment_is_used_and_none_is_sent_without(monkeypatch):
    with Endpoint(lambda body, turn: (200, {}, completion("Rain"))) as endpoint:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        ask(endpoint, [request()])
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        ask(endpoint, [request()])
    assert [headers.get("Authorization") for headers in endpoint.headers] == [None, "Bearer k"]
