"""A run is scored from its settings, and its reranker on top of it with a weight fitted on validation."""

import json

import numpy as np
import pytest

from harken.training import evaluate, evaluate_rerank
from harken.training.evaluate_rerank import first_of_both, fit
from harken.training.loop import Loop
from harken.training.metrics import first_ranks
from harken.training.stages import make_task

from .. import tiny
from .runs import settings, write_sounds


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    model = tiny.qwen2_audio(folder / "model", text="llama", num_mels=80)
    sounds = write_sounds(folder / "sounds")
    features = str(sounds / "features")
    made = settings(model, sounds, folder / "run", features=features, optim=dict(num_steps=2))
    Loop(make_task(made), made).go()
    (folder / "run.json").write_text(json.dumps(made.to_dict()))
    rerank = settings(
        model, sounds, folder / "rerank", features=features, stage="rerank", recipe="aurola-rerank", num_whitening=0
    )
    (folder / "rerank.json").write_text(json.dumps(rerank.to_dict()))
    where = ["--data", str(sounds), "--split", "val", "--vectors", str(folder / "val.npz")]
    assert evaluate.main([str(folder / "run.json"), *where, "--json", str(folder / "val.json")]) == 0
    return folder


def test_a_run_is_scored_by_its_adapter_and_the_backbone_without(scored, capsys):
    found = json.loads((scored / "val.json").read_text())
    vectors = np.load(scored / "val.npz")
    assert vectors["audio"].shape == vectors["text"].shape == (4, 512)
    ranks = (vectors["text"] @ vectors["audio"].T).argmax(1)
    assert found["text->audio by caption"]["R@1"]["recall"] == np.mean(ranks == np.arange(4))
    run = [str(scored / "run.json"), "--data", str(scored / "sounds"), "--split", "val", "--untrained"]
    evaluate.main([*run, "--vectors", str(scored / "plain.npz")])
    assert np.load(scored / "plain.npz")["audio"].shape == (4, 48)
    assert "adapter None" in capsys.readouterr().out


def test_a_reranker_is_fused_with_the_weight_that_validation_chose(scored, capsys):
    out = scored / "out"
    run = [str(scored / "rerank.json"), "--data", str(scored / "sounds"), "--val", str(scored / "val.npz")]
    # The retriever's adapter has the reranker's layers.
    evaluate_rerank.main([*run, "--top", "2", "--out", str(out), "--adapter", str(scored / "run/adapter")])
    saved, weights = np.load(out / "val.npz"), json.loads((out / "fusion.json").read_text())
    wanted = first_of_both(saved["similarity"], 2)
    assert ((saved["p_yes"] > 0) == wanted).all() and wanted.sum() < wanted.size
    similarity, right = saved["similarity"], np.eye(4, dtype=bool)
    fused = similarity + np.float32(weights["a2t"]) * saved["p_yes"]
    reciprocal = lambda scores: (1 / first_ranks(scores, right)).mean() + (1 / first_ranks(scores.T, right)).mean()
    assert reciprocal(fused) >= reciprocal(similarity)
    assert weights["a2t"] == weights["t2a"] and weights["fitted_on"] == "val"
    results = json.loads((out / "val.json").read_text())
    assert results["fused"]["text->audio by caption"]["R@1"]["recall"] == np.mean(first_ranks(fused, right) == 1)
    assert "fused" in capsys.readouterr().out


def test_the_weight_is_the_smallest_that_is_best():
    # The first caption asks for more than 0.125, the second sound for more than 0.286.
    similarity = np.array([[0.5, 0.6], [0.1, 0.4]], np.float32)
    p_yes = np.array([[0.9, 0.1], [0.1, 0.8]], np.float32)
    assert fit(similarity, p_yes, np.eye(2, dtype=bool), "val").a2t == pytest.approx(0.3)
    assert fit(similarity, np.zeros((2, 2), np.float32), np.eye(2, dtype=bool), "val").a2t == 0
