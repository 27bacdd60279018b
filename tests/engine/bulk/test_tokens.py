"""Audio tokens stored by a bulk run stand in for hearing the sounds: same scores, and no other model's ears."""

import numpy as np
import pytest
import torch

import harken
from harken.engine.bulk import LocalEngine, Settings, run_bulk
from harken.engine.bulk.index import index_run
from harken.engine.bulk.tokens import AudioTokens, TokenEncoder
from harken.errors import FileFormatError, FingerprintError, InputError

from ... import tiny, tolerances
from .sounds import break_twelve_ways, fill
from .test_runner import tree

SETTINGS = Settings("tokens", "bfloat16", part_rows=8)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = fill(tmp_path_factory.mktemp("tokens") / "in", 18)
    break_twelve_ways(folder / "broken")
    return folder


def make(reranker, **options):
    return TokenEncoder(reranker.model, reranker.recipe, batch_tokens=50, **options)


@pytest.fixture(scope="module")
def run(reranker, sounds, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokens") / "out"
    report = run_bulk([str(sounds)], out, lambda: make(reranker), settings=SETTINGS, engine=LocalEngine(2))
    assert report.finished and report.progress.num_failed == 12
    return out


def test_tokens_are_the_rerankers_own_to_bfloat16(run, reranker, sounds):
    tokens = AudioTokens(run)
    tokens.require(reranker.model)
    assert len(tokens) == 18 and list(tokens)[:2] == ["a/00000.wav", "a/00002.wav"]
    for name in tokens:
        heard = reranker.audio_tokens(str(sounds / name))
        assert tokens[name].dtype == np.float32 and tokens[name].shape == heard.shape
        assert np.array_equal(tokens[name], torch.from_numpy(heard).bfloat16().float().numpy()) or (
            np.abs(tokens[name] - heard).max() <= 2**-8 * np.abs(heard).max() + tolerances.BATCH_INVARIANCE
        )
        assert np.array_equal(tokens[str(sounds / name)], tokens[name])
    assert tokens.get("nowhere") is None and "nowhere" not in tokens


def test_a_reranker_scores_with_them_and_reads_no_sound(run, reranker, sounds, tmp_path):
    names = [str(sounds / "a" / f"{i:05d}.wav") for i in (0, 2, 4)]
    pairs = [("a dog barks", name) for name in names]
    same = tiny.qwen2_audio(tmp_path / "same")
    stored = harken.load_reranker(same, device="cpu", stored=AudioTokens(run))
    moved = [(text, name.replace(str(sounds) + "/", "")) for text, name in pairs]
    log_odds = [np.log(p) - np.log1p(-p) for p in (reranker.predict(pairs), stored.predict(moved))]
    assert np.abs(log_odds[0] - log_odds[1]).max() < tolerances.LOG_ODDS["bfloat16"]


def test_killed_and_started_again_they_are_the_same_bytes(run, reranker, sounds, tmp_path):
    out = tmp_path / "out"
    make_again = lambda: make(reranker)
    run_bulk([str(sounds)], out, make_again, settings=SETTINGS, engine=LocalEngine(3))
    assert tree(out) == tree(run)
    (out / "tokens" / "tokens_000001.npy").write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match="tokens_000001.npy: cannot be read"):
        [AudioTokens(out)[name] for name in AudioTokens(out)]
    run_bulk([str(sounds)], out, make_again, settings=SETTINGS, engine=LocalEngine(1))
    assert tree(out) == tree(run)


def test_a_part_of_a_sound_is_not_taken_for_the_whole(reranker, sounds, tmp_path):
    path = sounds / "a" / "00006.wav"
    (tmp_path / "list.csv").write_text(f"path,id,start_s,end_s\n{path},cut,0.01,0.07\n")
    engine, make_again = LocalEngine(1), lambda: make(reranker)
    run_bulk([str(tmp_path / "list.csv")], tmp_path / "out", make_again, settings=SETTINGS, engine=engine)
    tokens = AudioTokens(tmp_path / "out")
    assert "cut" in tokens and str(path) not in tokens


def test_another_models_ears_are_refused(run, tmp_path):
    other = harken.load_reranker(tiny.qwen2_audio(tmp_path / "m"), device="cpu")
    AudioTokens(run).require(other.model)
    with torch.no_grad():
        next(other.model.tower.parameters()).mul_(1.5)
    with pytest.raises(FingerprintError, match="made by another model; it differs in tower_sha256"):
        AudioTokens(run).require(other.model)


def test_what_is_no_folder_of_tokens_is_named(run, reranker, tmp_path):
    with pytest.raises(FileFormatError, match="is no run's folder"):
        AudioTokens(tmp_path)
    with pytest.raises(FileFormatError, match="holds audio tokens; wanted a run of vectors"):
        index_run(run, tmp_path / "x.harken")
    with pytest.raises(InputError, match="dtype is 'float32'; wanted one of .*bfloat16"):
        Settings("tokens", "float32")
    with pytest.raises(InputError, match="depend on no instruction"):
        make(reranker).encode_clips([], instruction="loud")
