"""A tiny reranker for the tests of audio tokens."""

import pytest

import harken

from ... import tiny


@pytest.fixture(scope="session")
def reranker(tmp_path_factory):
    return harken.load_reranker(tiny.qwen2_audio(tmp_path_factory.mktemp("rerank") / "m"), device="cpu")
