"""Every causal backbone: grouped scores are those of whole prompts, by transformers where it has the model."""

import numpy as np
import pytest
import soundfile
import torch

import harken
from harken.engine.rerank.prompts import PairPrompts
from harken.errors import ModelError

from ... import tiny, tolerances
from ...tiny_midasheng import midasheng
from ..hf import OmniOracle, Qwen2AudioOracle
from .conftest import TEXTS
from .naive import NaiveReranker


def check(reranker, want, clips):
    """Both directions, sounds and texts crossed, in one bag."""
    places = [(direction, text, clip) for direction in ("a2t", "t2a") for text in TEXTS[:3] for clip in clips[:3]]
    pairs = [(clip, text) if direction == "a2t" else (text, clip) for direction, text, clip in places]
    got, wanted = reranker.predict(pairs), np.array([want(*place) for place in places])
    assert np.abs(got - wanted).max() < tolerances.P_YES_FP32
    log_odds, wanted_log_odds = (np.log(p) - np.log1p(-p) for p in (got.astype(float), wanted))
    assert np.abs(log_odds - wanted_log_odds).max() < tolerances.LOG_ODDS_FP32
    assert np.ptp(wanted_log_odds) > 1


@pytest.mark.parametrize("text, tied", [("llama", False), ("qwen2", True)])
def test_qwen2_audio(tmp_path, clips, text, tied):
    folder = tiny.qwen2_audio(tmp_path / "model", text=text, tied=tied)
    oracle = Qwen2AudioOracle(folder)
    if tied:  # transformers does not tie this class by itself
        oracle.model.lm_head.weight = oracle.model.get_input_embeddings().weight
    check(harken.load_reranker(folder, device="cpu"), NaiveReranker(oracle).score, clips)


@pytest.mark.parametrize("layout, shards", [("full", 1), ("thinker", 3)])
def test_qwen_omni(tmp_path, clips, layout, shards):
    folder = tiny.omni(tmp_path / "model", layout, shards=shards)
    check(harken.load_reranker(folder, device="cpu"), NaiveReranker(OmniOracle(folder)).score, clips)


def test_midasheng(tmp_path, clips):
    """transformers has no such model: the oracle is the packed graph on whole prompts, which has tests of its own."""
    reranker = harken.load_reranker(midasheng(tmp_path / "model"), device="cpu")
    model, prompts = reranker.model, PairPrompts(reranker.tokenizer, reranker.recipe, reranker.model.audio_token_id)

    @torch.inference_mode()
    def want(direction, text, clip):
        rows, (count,) = model.audio_rows(model.features([soundfile.read(clip, dtype="float32")[0]]))
        split = prompts.split(direction, text, count)
        x, segments = model.embed([split.prefix, split.suffix], rows)
        last = model.decoder.norm(model.decoder(x, type(segments).of([len(x)]))[-1:])[0]
        return float(torch.softmax(reranker._scorer._yes_no_2W @ last, 0)[0])

    check(reranker, want, clips)


def test_decoders_that_look_both_ways_are_refused(tmp_path):
    with pytest.raises(ModelError, match="is a nvomniembed"):
        harken.load_reranker(tiny.omni(tmp_path / "model", "nv"), device="cpu")
