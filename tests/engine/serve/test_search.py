"""Search and rerank over HTTP give what the index and the reranker give, and no path of the server."""

import numpy as np
import pytest

from harken.engine.index import Index
from harken.engine.serve.catalog import Catalog
from harken.errors import InputError

from ... import tolerances
from .conftest import NUM_SOUNDS, data_url


def hits(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"]


def test_a_text_finds_what_the_index_finds(served, embedder, catalog):
    got = hits(served.post("/v1/search", json={"query": "a dog barks", "k": 5}))
    wanted = catalog.index.search(embedder.encode_text(["a dog barks"]), 5)[0]
    assert [hit["position"] for hit in got] == [hit.position for hit in wanted]
    assert np.allclose([h["score"] for h in got], [h.score for h in wanted], atol=tolerances.SERVED)
    assert [hit["rank"] for hit in got] == [1, 2, 3, 4, 5]
    assert got[0]["name"] == f"sound {got[0]['position']}.wav" and got[0]["caption"].startswith("noise")


def test_a_sound_finds_itself_first_and_others_like_it(served, sounds):
    by_file = hits(served.post("/v1/search/file", files={"file": sounds[3].read_bytes()}, data={"k": 4}))
    by_url = hits(served.post("/v1/search", json={"query": {"audio_url": {"url": data_url(sounds[3])}}, "k": 4}))
    assert [h["position"] for h in by_file] == [h["position"] for h in by_url] and by_file[0]["position"] == 3
    like = hits(served.post("/v1/search", json={"like": 3, "k": 3}))
    assert [h["position"] for h in like] == [h["position"] for h in by_file[1:]]


def test_tags_and_conditions_filter(served):
    ask = lambda **more: hits(served.post("/v1/search", json={"query": "x", "k": 50, **more}))
    assert {h["position"] for h in ask(tags=["odd"])} == set(range(1, NUM_SOUNDS, 2))
    assert ask(tags=["odd", "even"]) == []
    assert {h["position"] for h in ask(filter="duration_s < 0.5")} == {0, 1, 2}
    assert {h["position"] for h in ask(filter="duration_s < 0.5", tags=["odd"])} == {1}


def test_the_reranker_shows_before_and_after(served, reranker, catalog):
    got = hits(served.post("/v1/search", json={"query": "a dog barks", "k": 4, "rerank": True}))
    files = [catalog.file(i) for i in range(NUM_SOUNDS)]
    wanted = reranker.predict([("a dog barks", file) for file in files], direction="t2a")
    assert [h["position"] for h in got] == np.argsort(-wanted, kind="stable")[:4].tolist()
    assert all(abs(h["p_yes"] - wanted[h["position"]]) < tolerances.P_YES_FP32 for h in got)
    assert len({h["retrieval_rank"] for h in got}) == 4


@pytest.mark.parametrize(
    "body, status, said",
    [
        ({}, 400, "exactly one of query and like"),
        ({"query": "x", "like": 1}, 400, "exactly one of query and like"),
        ({"like": 99}, 404, "the index has 12 rows"),
        ({"query": " "}, 400, "a text is empty"),
        ({"query": "x", "k": 0}, 400, "k"),
        ({"query": "x", "filter": "no_such_column == 1"}, 400, "no_such_column"),
        ({"query": {"audio_url": {"url": "data:audio/wav;base64,%%%"}}}, 400, "not valid base64"),
        ({"like": 1, "rerank": True}, 400, "rerank wants a text query"),
    ],
)
def test_wrong_searches(served, body, status, said):
    answer = served.post("/v1/search", json=body)
    assert answer.status_code == status and said in answer.json()["error"]["message"]


def test_rerank_orders_texts_for_a_sound(served, reranker, sounds):
    texts = ["a dog barks", "rain", "music plays"]
    body = {"query": {"audio_url": {"url": data_url(sounds[0])}}, "documents": [*texts, ""], "return_documents": True}
    answer = served.post("/v1/rerank", json=body)
    wanted = reranker.predict([(sounds[0], text) for text in texts], direction="a2t")
    results = answer.json()["results"]
    assert [r["index"] for r in results] == np.argsort(-wanted, kind="stable").tolist()
    assert np.allclose([r["relevance_score"] for r in results], np.sort(wanted)[::-1], atol=tolerances.P_YES_FP32)
    assert results[0]["document"] == texts[results[0]["index"]]
    assert [error["index"] for error in answer.json()["errors"]] == [3]


def test_rerank_orders_sounds_for_a_text(served, reranker, sounds):
    documents = [{"content": [{"type": "audio_url", "audio_url": {"url": data_url(p)}}]} for p in sounds[:4]]
    answer = served.post("/v1/rerank", json={"query": "a dog barks", "documents": documents, "top_n": 2})
    wanted = reranker.predict([("a dog barks", p) for p in sounds[:4]], direction="t2a")
    assert [r["index"] for r in answer.json()["results"]] == np.argsort(-wanted, kind="stable")[:2].tolist()


def test_sounds_and_their_shapes_are_served(served, sounds):
    assert served.get("/v1/sounds/2/audio").content == sounds[2].read_bytes()
    peaks = served.get("/v1/sounds/2/peaks").json()
    assert len(peaks) == 96 and 0 < max(peaks) <= 1
    for path in ("/v1/sounds/99/audio", "/v1/sounds/99/peaks"):
        assert served.get(path).status_code == 404


def test_no_file_outside_the_folder_is_served(tmp_path):
    (tmp_path / "sounds").mkdir()
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "sounds" / "link.wav").symlink_to(tmp_path / "secret.wav")
    ids = ["../secret.wav", str(tmp_path / "secret.wav"), "link.wav", "missing.wav"]
    catalog = Catalog(Index.build(np.eye(4, dtype=np.float32), ids=ids), tmp_path / "sounds")
    assert [catalog.file(i) for i in range(4)] == [None] * 4
    assert not any(str(tmp_path) in str(catalog.describe(i)) for i in range(4))
    with pytest.raises(InputError, match="there is no file"):
        catalog.peaks(0)


def test_answers_hold_no_path_of_the_server(served, sounds):
    folder = str(sounds[0].parent)
    for answer in (
        served.post("/v1/search", json={"query": "x", "k": 12}),
        served.get("/v1/models"),
        served.get("/v1/index"),
        served.get("/metrics"),
        served.post("/v1/embeddings/files", files={"files": b"nothing"}),
    ):
        assert folder not in answer.text and "/tmp" not in answer.text
