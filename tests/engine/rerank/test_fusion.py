"""Fusion: equation 11 by hand, weights fitted on validation alone, and the released script's leak shown with random scores."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.engine.rerank.fusion import FusionWeights, Reranked, fit_fusion, fuse, recall_at_1, spread
from harken.errors import InputError


def corpus(seed, num_audios=60, per_audio=5, top_k=10, good=0.0):
    """A retrieval of middling quality and a reranker whose scores are `good` parts truth and the rest chance."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_audios), per_audio)
    truth = labels[:, None] == np.arange(num_audios)
    similarity = (0.5 * truth + 0.35 * rng.standard_normal(truth.shape)).astype(np.float32)
    parts = []
    for scores, right in ((similarity.T, truth.T), (similarity, truth)):
        top = np.argsort(-scores, 1, kind="stable")[:, :top_k]
        chance = rng.random(top.shape)
        parts.append(Reranked(top, (good * np.take_along_axis(right, top, 1) + (1 - good) * chance).astype(np.float32)))
    return similarity, labels, parts[0], parts[1]


@given(seed=st.integers(0, 1000), a2t=st.floats(0, 4), t2a=st.floats(0, 4), ret=st.floats(0, 2))
def test_equation_11_cell_by_cell(seed, a2t, t2a, ret):
    similarity, _, of_audio, of_text = corpus(seed, num_audios=6, per_audio=2, top_k=3)
    fused = fuse(similarity, FusionWeights(a2t, t2a, ret), a2t=of_audio, t2a=of_text)
    for t in range(12):
        for a in range(6):
            want = ret * similarity[t, a]
            if t in of_audio.candidates[a]:
                want += a2t * of_audio.scores[a][of_audio.candidates[a].tolist().index(t)]
            if a in of_text.candidates[t]:
                want += t2a * of_text.scores[t][of_text.candidates[t].tolist().index(a)]
            assert abs(fused[t, a] - want) < 1e-5


def test_a_candidate_without_a_score_keeps_its_retrieval_score():
    similarity = np.array([[0.5, 0.4]], np.float32)
    part = Reranked(np.array([[1, 0]]), np.array([[np.nan, 0.25]]))
    assert fuse(similarity, FusionWeights(0.0, 2.0), t2a=part).tolist() == [[1.0, np.float32(0.4)]]


def test_random_scores_gain_nothing_honestly_and_much_by_the_released_fusion():
    weights = FusionWeights(a2t=2.0, t2a=0.0)
    honest, leaked, plain, ceiling = [], [], [], []
    for seed in range(5):
        similarity, labels, of_audio, of_text = corpus(seed)
        a2t_recall = lambda scores, labels=labels: (labels[scores.argmax(0)] == np.arange(60)).mean()
        plain.append(a2t_recall(similarity))
        ceiling.append((labels[of_audio.candidates] == np.arange(60)[:, None]).any(1).mean())
        honest.append(a2t_recall(fuse(similarity, weights, a2t=of_audio, t2a=of_text)))
        with pytest.warns(UserWarning, match="labels leak"):
            got = fuse(
                similarity, weights, a2t=of_audio, t2a=of_text, compat_released_fusion=True, audio_of_text=labels
            )
        leaked.append(a2t_recall(got))
        # It touches the right answers and nothing else.
        truth = labels[:, None] == np.arange(60)
        assert (got[~truth] == similarity[~truth]).all() and (got[truth] >= similarity[truth]).all()
    assert np.mean(honest) <= np.mean(plain)
    assert np.mean(leaked) > np.mean(plain) + 0.1
    # Nearly every sound whose candidates hold a right answer now has it first, which is all that a reranker can do.
    assert np.mean(leaked) > 0.95 * np.mean(ceiling)


def test_the_text_to_audio_pass_of_the_released_fusion_is_equation_11():
    similarity, labels, _, of_text = corpus(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = fuse(similarity, FusionWeights(0, 0.9), t2a=of_text, compat_released_fusion=True, audio_of_text=labels)
    assert (got == fuse(similarity, FusionWeights(0, 0.9), t2a=of_text)).all()


def both_recalls(scores, relevant):
    return np.mean([recall_at_1(scores, relevant, direction) for direction in ("a2t", "t2a")])


def fit(data, **settings):
    similarity, labels, of_audio, of_text = data
    relevant = labels[:, None] == np.arange(similarity.shape[1])
    terms = {"a2t_TA": spread(of_audio, "a2t", similarity.shape), "t2a_TA": spread(of_text, "t2a", similarity.shape)}
    return fit_fusion(similarity, relevant, **{**terms, "split": "validation", **settings}), relevant


def test_fitted_weights_are_the_best_of_the_grid_and_help_on_other_data():
    grid = (0.0, 0.3, 1.0, 2.5)
    similarity, _, of_audio, of_text = data = corpus(1, good=0.4)
    (weights, recall), relevant = fit(data, grid=grid)
    tried = [
        both_recalls(fuse(similarity, FusionWeights(x, y), a2t=of_audio, t2a=of_text), relevant)
        for x in grid
        for y in grid
    ]
    assert recall == max(tried) and weights.fitted_on == "validation" and weights.ret == 1.0
    other, _, of_audio, of_text = corpus(2, good=0.4)
    fused = fuse(other, weights, a2t=of_audio, t2a=of_text)
    assert both_recalls(fused, relevant) > both_recalls(other, relevant) + 0.05


def test_a_part_that_is_missing_gets_no_weight_and_of_equals_the_smallest_wins():
    (weights, _), _ = fit(corpus(4, good=0.5), a2t_TA=None, grid=(0.0, 0.5, 1.0))
    assert weights.a2t == 0 and weights.t2a > 0
    (weights, recall), _ = fit(corpus(4, good=1.0), a2t_TA=None, grid=(3.0, 4.0))
    assert weights.t2a == 3.0
    (weights, _), _ = fit(corpus(4), a2t_TA=None, t2a_TA=np.zeros((300, 60)), grid=(0.0, 1.0))
    assert weights == FusionWeights(0.0, 0.0, fitted_on="validation")


def test_queries_that_were_not_answered_do_not_count():
    similarity = np.array([[0.9, 0.1], [-np.inf, -np.inf]])
    relevant = np.array([[True, False], [False, True]])
    assert recall_at_1(similarity, relevant, "t2a") == 1.0
    assert recall_at_1(similarity, relevant, "a2t") == 0.5


@pytest.mark.parametrize("split", ["test", "AudioCaps-test", "clotho evaluation"])
def test_weights_are_never_fitted_on_the_test_set(split):
    with pytest.raises(InputError, match="must not be fitted on the split"):
        fit(corpus(0, num_audios=5, top_k=2), split=split)


def test_weights_go_through_a_file(tmp_path):
    weights = FusionWeights(0.8, 0.1, fitted_on="val")
    weights.save(tmp_path / "weights.json")
    assert FusionWeights.load(tmp_path / "weights.json") == weights
    (tmp_path / "weights.json").write_text('{"alpha": 1}')
    with pytest.raises(InputError, match="cannot be read as fusion weights"):
        FusionWeights.load(tmp_path / "weights.json")


def test_shapes_that_do_not_fit_are_refused():
    similarity, labels, of_audio, of_text = corpus(0, num_audios=6, per_audio=2, top_k=3)
    weights = FusionWeights(1.0, 1.0)
    for call, said in (
        (lambda: fuse(similarity[0], weights), "must be .texts, sounds."),
        (lambda: fuse(similarity, weights, a2t=of_text), "a2t: candidates and scores must both be .6, K."),
        (lambda: fuse(similarity, weights, t2a=Reranked(of_text.candidates + 5, of_text.scores)), "must lie in 0..5"),
        (lambda: fuse(similarity, weights, t2a=Reranked(0 * of_text.candidates, of_text.scores)), "twice"),
        (lambda: fuse(similarity, weights, a2t=of_audio, compat_released_fusion=True), "wants audio_of_text"),
        (lambda: fit_fusion(similarity, similarity > 0, split="val"), "one or two reranked directions"),
        (lambda: fit_fusion(similarity, similarity > 0, t2a_TA=similarity.T, split="val"), "of one shape"),
    ):
        with pytest.raises(InputError, match=said):
            call()
