"""CLAP and Robust-ATR through `harken.load`: transformers' vectors, long sounds in chunks, failures alone."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import harken
from harken.engine.models.packed import Segments
from harken.errors import AudioError, ModelError

from .. import tiny_clap, tolerances

RATE = 48000
TEXTS = ["a dog barks", "rain and wind", "music"]


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    return tiny_clap.clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def robust_folder(tmp_path_factory):
    return tiny_clap.robust_atr(tmp_path_factory.mktemp("robust"))


@torch.no_grad()
def test_clap_gives_transformers_vectors(clap_folder):
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    oracle = ClapModel.from_pretrained(clap_folder, dtype=torch.float32).eval()
    extractor, tokenizer = (c.from_pretrained(clap_folder) for c in (ClapFeatureExtractor, AutoTokenizer))
    model = harken.load(clap_folder, recipe="laion-clap")
    clips = [tiny_clap.wave(n, i) for i, n in enumerate([900, 48000, 480000])]
    mel = extractor(clips, sampling_rate=RATE, return_tensors="pt")["input_features"]
    want = oracle.get_audio_features(mel).pooler_output.numpy()
    assert np.abs(model.encode_audio([(clip, RATE) for clip in clips]) - want).max() < tolerances.VECTOR_FP32
    ids = tokenizer(TEXTS, padding=True, return_tensors="pt")
    want = oracle.get_text_features(ids["input_ids"], attention_mask=ids["attention_mask"]).pooler_output.numpy()
    assert np.abs(model.encode_text(TEXTS) - want).max() < tolerances.VECTOR_FP32


def test_a_long_sound_of_clap_is_the_mean_of_its_chunks(clap_folder):
    model = harken.load(clap_folder, recipe="laion-clap")
    long = tiny_clap.wave(24 * RATE)
    got = model.encode_audio([(long, RATE)])[0]
    mean = model.encode_audio([(long[i : i + 10 * RATE], RATE) for i in (0, 10 * RATE, 20 * RATE)]).mean(0)
    assert np.abs(got - mean / np.linalg.norm(mean)).max() < tolerances.BATCH_INVARIANCE


@torch.no_grad()
def test_a_long_sound_of_robust_atr_is_attended_to_without_its_silences(robust_folder):
    model = harken.load(robust_folder, recipe="robust-atr")
    rng = np.random.default_rng(4)
    noise = (0.1 * rng.standard_normal(24 * RATE)).astype(np.float32)
    with_silence = np.concatenate([noise[: 4 * RATE], np.zeros(3 * RATE, np.float32), noise[4 * RATE :]])
    chunks = [noise[i : i + 10 * RATE] for i in (0, 10 * RATE, 20 * RATE)]
    pooled = model.encoder.model.pool_chunks(model.model.audio_vectors(chunks), Segments.of([3]))
    got = model.encode_audio([(with_silence, RATE), (noise[:RATE], RATE), (noise, RATE)])
    assert np.abs(got[0] - F.normalize(pooled, dim=-1)[0].numpy()).max() < tolerances.BATCH_INVARIANCE
    assert np.abs(got[0] - got[2]).max() < tolerances.BATCH_INVARIANCE
    alone = F.normalize(model.model.audio_vectors([noise[:RATE]]), dim=-1)[0].numpy()
    assert np.abs(got[1] - alone).max() < tolerances.BATCH_INVARIANCE


def test_silence_has_a_vector_and_a_failure_stays_alone(robust_folder):
    model = harken.load(robust_folder, recipe="robust-atr", batch_tokens=300)
    sounds = [(np.zeros(12 * RATE, np.float32), RATE), b"no sound", (tiny_clap.wave(RATE), RATE)]
    encoded = model.try_encode_audio(sounds)
    assert encoded.rows == [0, 2] and [failure.row for failure in encoded.failures] == [1]
    assert np.allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-6)
    assert len(model.try_encode_audio([b"no sound"]).vectors) == 0
    with pytest.raises(AudioError):
        model.encode_audio(sounds)


def test_harken_json_overrides_the_recipe_it_names(robust_folder, clap_folder):
    kept = {"recipe": "robust-atr", "overrides": {"silence_db": 25.0, "max_audio_s": 5.0}}
    (robust_folder / "harken.json").write_text(json.dumps(kept))
    try:
        model = harken.load(robust_folder)
        assert (model.recipe.silence_db, model.recipe.max_audio_s, model.recipe.silence_s) == (25.0, 5.0, 1.0)
        own = harken.Recipe.from_dict({**model.recipe.to_dict(), "name": "own", "silence_db": 30.0})
        assert harken.load(robust_folder, recipe=own).recipe.silence_db == 30.0
        (robust_folder / "harken.json").write_text(json.dumps({**kept, "overrides": {"silence": 1}}))
        with pytest.raises(ModelError, match=r"harken.json: unknown fields \['silence'\]"):
            harken.load(robust_folder)
    finally:
        (robust_folder / "harken.json").unlink()


def test_chunk_attention_wants_a_query(clap_folder):
    recipe = harken.load(clap_folder, recipe="laion-clap").recipe.to_dict()
    with pytest.raises(ModelError, match="without a query"):
        harken.load(clap_folder, recipe=harken.Recipe.from_dict({**recipe, "long_audio": "chunk-attention"}))
