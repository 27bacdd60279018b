"""MTEB's own client for OpenAI-shaped servers reads this one: texts through `messages`, and scores of the reranker."""

import numpy as np
import pytest

from ... import tolerances

wrappers = pytest.importorskip("mteb.models.openai_wrappers", reason="mteb is not installed")

TEXTS = ["a dog barks", "rain on a roof", "music"]


def test_texts_through_messages(served, embedder):
    client = wrappers.OpenAIAPIEncodeWrapper(endpoint_url=served.url, model_name="tiny", modalities=["text", "audio"])
    items = [(text, None, None, None) for text in TEXTS]
    got = client._get_multimodal_embeddings(items, "")
    assert np.abs(got - embedder.encode_text(TEXTS)).max() < tolerances.SERVED
    assert np.abs(client._get_embeddings(TEXTS) - embedder.encode_text(TEXTS)).max() < tolerances.SERVED


def test_scores_of_the_reranker(served, reranker, sounds):
    from .conftest import data_url

    client = wrappers.OpenAIAPIRerankWrapper(endpoint_url=served.url, model_name="tiny")
    query = {"content": [{"type": "audio_url", "audio_url": {"url": data_url(sounds[0])}}]}
    wanted = reranker.predict([(sounds[0], text) for text in TEXTS], direction="a2t")
    assert np.abs(client._rerank(query, TEXTS) - wanted).max() < tolerances.P_YES_FP32
