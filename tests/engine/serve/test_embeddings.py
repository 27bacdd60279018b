"""/v1/embeddings gives the engine's own vectors in every form that clients ask for, and names the item that is wrong."""

import base64

import numpy as np
import pytest

from ... import tolerances
from .conftest import data_url, vectors

TEXTS = ["a dog barks", "rain on a roof", "狗 🐕"]


def check(got, wanted):
    assert got.shape == wanted.shape and np.abs(got - wanted).max() < tolerances.SERVED


def test_texts(served, embedder):
    check(vectors(served.post("/v1/embeddings", json={"input": TEXTS})), embedder.encode_text(TEXTS))
    check(vectors(served.post("/v1/embeddings", json={"input": TEXTS[0]})), embedder.encode_text(TEXTS[:1]))


def test_token_ids(served, embedder):
    ids = [embedder.tokenizer.encode(text).ids for text in TEXTS]
    wanted = embedder.encode_text(TEXTS)
    check(vectors(served.post("/v1/embeddings", json={"input": ids})), wanted)
    check(vectors(served.post("/v1/embeddings", json={"input": ids[0]})), wanted[:1])


def test_messages_hold_texts_and_sounds(served, embedder, sounds):
    part = {"type": "audio_url", "audio_url": {"url": data_url(sounds[0])}}
    bare = {"type": "input_audio", "input_audio": {"data": data_url(sounds[1]).split(",")[1], "format": "wav"}}
    say = lambda *content: [{"role": "user", "content": list(content)}]
    answer = served.post(
        "/v1/embeddings", json={"messages": [say(part), say(bare), say({"type": "text", "text": "x"})]}
    )
    check(vectors(answer), np.concatenate([embedder.encode_audio(sounds[:2]), embedder.encode_text(["x"])]))
    check(vectors(served.post("/v1/embeddings", json={"messages": say(part)})), embedder.encode_audio(sounds[:1]))


def test_uploaded_files(served, embedder, sounds):
    files = [("files", (p.name, p.read_bytes(), "audio/wav")) for p in sounds[:3]]
    check(vectors(served.post("/v1/embeddings/files", files=files)), embedder.encode_audio(sounds[:3]))


def test_base64_and_fewer_dimensions(served, embedder):
    wanted = embedder.encode_text(TEXTS)
    rows = served.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64"}).json()["data"]
    check(np.array([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows]), wanted)
    cut = wanted[:, :7] / np.linalg.norm(wanted[:, :7], axis=1, keepdims=True)
    check(vectors(served.post("/v1/embeddings", json={"input": TEXTS, "dimensions": 7})), cut)


def test_usage_counts_tokens(served):
    one, two = (served.post("/v1/embeddings", json={"input": ["a dog"] * n}).json()["usage"] for n in (1, 2))
    assert two["prompt_tokens"] == 2 * one["prompt_tokens"] > 0


def test_the_openai_client_reads_the_answer(served, embedder):
    openai = pytest.importorskip("openai", reason="the openai package is not installed")
    client = openai.OpenAI(base_url=served.url + "/v1", api_key="none")
    answer = client.embeddings.create(model="tiny", input=TEXTS)
    check(np.array([row.embedding for row in answer.data], np.float32), embedder.encode_text(TEXTS))
    assert client.models.list().data[0].id == "tiny"
    with pytest.raises(openai.BadRequestError, match="texts? is empty|a text is empty"):
        client.embeddings.create(model="tiny", input=["a", " "])


@pytest.mark.parametrize(
    "body, param, said",
    [
        ({}, None, "exactly one of input and messages"),
        ({"input": []}, "input", ""),
        ({"input": ["a", ""]}, "input[1]", "a text is empty"),
        ({"input": 5}, "input", ""),
        ({"input": [10**7]}, None, "not in this model's vocabulary"),
        ({"input": "a", "dimensions": 10**6}, "dimensions", "vectors have"),
        ({"input": "a", "dimensions": 0}, "dimensions", ""),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", ""),
        ({"input": "a", "instruction": "find"}, "input", "takes no instruction"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None, ""),
        ({"messages": [{"role": "system", "content": "x"}]}, None, "one user message"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(served, body, param, said):
    answer = served.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert said in error["message"] and error["type"] == "invalid_request_error"
    assert param is None or (error["param"] or "").startswith(param)


@pytest.mark.parametrize(
    "sound, said",
    [
        (b"this is a text", "file"),
        (b"", ""),
        (b"RIFF\x00\x00\x00\x00WAVE", ""),
    ],
)
def test_a_sound_that_cannot_be_read_names_its_item(served, sounds, sound, said):
    files = [("files", ("good.wav", sounds[0].read_bytes())), ("files", ("bad.wav", sound))]
    answer = served.post("/v1/embeddings/files", files=files)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] == "files[1]" and "files[1]" in error["message"]
    assert [item["index"] for item in error["items"]] == [1] and said in error["message"]


def test_items_that_fail_can_be_skipped(served, embedder):
    answer = served.post("/v1/embeddings", json={"input": ["a dog barks", " ", "rain"], "skip_errors": True})
    body = answer.json()
    assert [row["index"] for row in body["data"]] == [0, 2] and [e["index"] for e in body["errors"]] == [1]
    check(vectors(answer), embedder.encode_text(["a dog barks", "rain"]))


def test_urls_are_not_read_unless_allowed(served):
    part = {"type": "audio_url", "audio_url": {"url": "http://169.254.169.254/latest/meta-data"}}
    answer = served.post("/v1/embeddings", json={"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 400 and "does not read from that URL" in answer.json()["error"]["message"]
