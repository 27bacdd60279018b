"""MTEB's own mock tasks run on harken's models, offline: text, sound, and both."""

import io
import logging

import numpy as np
import pytest
import soundfile

from harken.bench.quality.mteb_models import HarkenEncoder, HarkenReranker, HarkenSearch
from harken.engine.audio import decode
from harken.errors import AudioError, InputError

from .world import DIM, Model, write_sound

mteb = pytest.importorskip("mteb", reason="mteb is not installed")


@pytest.fixture
def sounds_as_bytes(monkeypatch):
    """The mock tasks write their sounds with torchcodec, which needs FFmpeg; here soundfile writes them."""
    import datasets

    def encode(self, value):
        if value.get("array") is None:
            return {"bytes": value.get("bytes"), "path": value.get("path")}
        out = io.BytesIO()
        soundfile.write(out, np.asarray(value["array"], np.float32), value["sampling_rate"], "FLOAT", format="WAV")
        return {"bytes": out.getvalue(), "path": None}

    monkeypatch.setattr(datasets.Audio, "encode_example", encode)


class Moments(Model):
    """Vectors of any sound and any text."""

    def encode_audio(self, sources, **options):
        clips = [np.abs(decode(source).samples) for source in sources]
        return np.array([[float((clip**k).mean()) for k in range(1, DIM + 1)] for clip in clips], np.float32)

    def encode_text(self, texts, *, instruction=None):
        return np.array([np.resize(np.frombuffer(text.encode(), np.uint8), DIM) for text in texts], np.float32)


class Overlap:
    """A reranker that scores by the length of the text and the loudness of the sound."""

    class recipe:
        name, licence = "overlap", ""

    def __init__(self):
        self.directions = []

    def predict(self, pairs, *, direction=None):
        self.directions.append(direction)
        text_at = 0 if direction == "t2a" else 1
        loud = [float(np.abs(decode(pair[1 - text_at]).samples).mean()) for pair in pairs]
        return np.array([len(pair[text_at]) * x for pair, x in zip(pairs, loud)], np.float32)


def ran(model) -> dict[str, str]:
    results = mteb.mock_run(model)
    done = {name: getattr(status, "exception", "") for name, status in results.items() if status is not None}
    assert not {name: error for name, error in done.items() if error}
    return done


def test_every_mock_task_of_text_and_sound_runs_on_the_encoder(sounds_as_bytes):
    model = HarkenEncoder(embedder=Moments(takes_both=False))
    assert isinstance(model, mteb.EncoderProtocol) and not isinstance(model, mteb.SearchProtocol)
    done = ran(model)
    assert {"MockRetrievalTask", "MockAny2AnyRetrievalT2A", "MockAudioZeroshotClassification"} <= set(done)


def test_every_mock_retrieval_runs_on_the_search(sounds_as_bytes):
    model = HarkenSearch(embedder=Moments())
    assert isinstance(model, mteb.SearchProtocol) and not isinstance(model, mteb.EncoderProtocol)
    assert {"MockAudioReranking", "MockAny2AnyRetrievalA2T", "MockRetrievalDialogTask"} <= set(ran(model))


def test_search_gives_the_scores_of_the_encoder(sounds_as_bytes):
    """Two ways of mteb to the same numbers: its own search over our vectors, and our index."""
    from mteb.mocks import ALL_MOCK_TASK_TEST_GRID

    tasks = {task.metadata.name: task for task in ALL_MOCK_TASK_TEST_GRID}
    scores = []
    for model in (HarkenEncoder(embedder=Moments()), HarkenSearch(embedder=Moments())):
        result = mteb.evaluate(model, tasks["MockAny2AnyRetrievalT2A"], cache=None, show_progress_bar=False)
        scores.append(result.task_results[0].scores["test"][0]["ndcg_at_10"])
    assert scores[0] == pytest.approx(scores[1])


def test_pairs_of_sound_and_text_are_scored_both_ways(tmp_path):
    sounds = [write_sound(tmp_path / f"{i}.wav", i) for i in range(3)]
    reranker = Overlap()
    model = HarkenReranker(reranker=reranker)
    assert isinstance(model, mteb.CrossEncoderProtocol) and model.mteb_model_meta.is_cross_encoder
    texts = [{"text": ["a", "bbb", "cc"]}]
    assert model.predict(texts, [{"audio": sounds}]) == pytest.approx(np.array([1, 6, 6]) / 64)
    assert model.predict([{"audio": sounds}], texts) == pytest.approx(np.array([1, 6, 6]) / 64)
    assert reranker.directions == ["t2a", "a2t"]
    with pytest.raises(InputError, match="pair 0 has two of text"):
        model.predict(texts, texts)


@pytest.mark.parametrize("name", ["MockAny2AnyRetrievalT2A", "MockAny2AnyRetrievalA2T"])
def test_what_the_search_found_is_reranked_by_the_cross_encoder(sounds_as_bytes, tmp_path, name):
    from mteb.mocks import ALL_MOCK_TASK_TEST_GRID

    task = next(task for task in ALL_MOCK_TASK_TEST_GRID if task.metadata.name == name)
    mteb.evaluate(
        HarkenSearch(embedder=Moments()), task, cache=None, prediction_folder=tmp_path, show_progress_bar=False
    )
    reranker = Overlap()
    again = type(task)()
    again.load_data()
    again.convert_v1_dataset_format_to_v2(num_proc=None)
    again = again.convert_to_reranking(tmp_path, top_k=2)
    result = mteb.evaluate(HarkenReranker(reranker=reranker), again, cache=None, show_progress_bar=False)
    assert result.task_results[0].task_name == name and set(reranker.directions) == {name[-3:].lower()}


def test_sound_with_text_goes_through_the_recipes_prompt_or_is_averaged(tmp_path):
    batch = [{"text": ["hear 5"], "audio": [write_sound(tmp_path / "2.wav", 2)]}]
    together = HarkenEncoder(embedder=Model()).encode(batch)[0]
    averaged = HarkenEncoder(embedder=Model(takes_both=False)).encode(batch)[0]
    assert together.argmax() == 5
    assert np.sort(averaged)[-2:] == pytest.approx([0.5**0.5] * 2, abs=0.01) and set(averaged.argsort()[-2:]) == {2, 5}


def test_empty_texts_are_zeros_and_told_and_bad_sounds_are_errors(tmp_path, caplog):
    model = HarkenEncoder(embedder=Model())
    with caplog.at_level(logging.WARNING):
        vectors = model.encode([{"text": ["a 1", " ", ""]}])
    assert vectors.any(1).tolist() == [True, False, False] and "2 of 3 texts are empty" in caplog.text
    (tmp_path / "bad.wav").write_bytes(b"no")
    with pytest.raises(AudioError, match="bad.wav"):
        model.encode([{"audio": [tmp_path / "bad.wav"]}])
    with pytest.raises(InputError, match="columns"):
        model.encode([{"image": [1]}])


def test_the_card_names_model_recipe_and_weights():
    model = HarkenEncoder(embedder=Model())
    meta = model.mteb_model_meta
    assert meta.name == "harken/world-world-float32" and meta.revision == model.embedder.fingerprint.id
    assert set(meta.modalities) == {"audio", "text"} and meta.embed_dim == DIM
