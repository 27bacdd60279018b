"""ALM2Vec's published similarities, with real weights where there are some.

    HARKEN_ALM2VEC=folder of the checkpoint  HARKEN_ALM2VEC_AUDIO=folder that holds assets/demo (default: the same folder)

Orders (what is most similar to what) hold whatever the precision; the numbers also test the recipe's unpublished defaults.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import harken
from harken.engine.recipes.alm2vec import QUERY_INSTRUCTION

from .. import tolerances

GOLDENS = json.loads((Path(__file__).parents[1] / "data" / "alm2vec_similarities.json").read_text())
WEIGHTS = os.environ.get("HARKEN_ALM2VEC")
BOARDS = [(kind, board) for kind in ("audio_to_text", "text_to_audio") for board in GOLDENS[kind]]
named = lambda value: value if isinstance(value, str) else value.get("id", Path(value.get("query", "")).stem)
with_weights = pytest.mark.skipif(WEIGHTS is None, reason="HARKEN_ALM2VEC names no folder with ALM2Vec's weights")


@pytest.fixture(scope="module")
def model():
    return harken.load(WEIGHTS, recipe="alm2vec", dtype="float32")


def sounds(*paths):
    """Paths of published sounds; skips where one is not there."""
    found = [Path(os.environ.get("HARKEN_ALM2VEC_AUDIO", WEIGHTS)) / path for path in paths]
    if missing := [str(path) for path in found if not path.is_file()]:
        pytest.skip(f"not there: {missing}")
    return found


def check(got, published):
    """Numbers to the printed decimals, with both tables in the message."""
    got, published = np.asarray(got), np.asarray(published)
    assert np.abs(got - published).max() < tolerances.ALM2VEC_PUBLISHED, f"got\n{got.round(4)}\npublished\n{published}"


def test_what_was_published_is_whole():
    assert [len(GOLDENS[kind]) for kind in ("instruction_aware", "audio_to_text", "text_to_audio", "qa")] == [5] * 4
    for _, board in BOARDS:
        matrix = np.array(board["matrix"])
        assert matrix.shape == (len(board["audio"]), len(board["text"])) == (3, 3)
        assert (matrix.argmax(1) == np.arange(3)).all()
    for row in GOLDENS["qa"]:
        assert len(row["answers"]) == len(row["scores"]) and int(np.argmax(row["scores"])) == row["correct"]


@with_weights
@pytest.mark.parametrize(("kind", "board"), BOARDS, ids=named)
def test_captions_and_sounds(model, kind, board):
    audio, text = model.encode_audio(sounds(*board["audio"])), model.encode_text(board["text"])
    got = model.similarity(audio, text) if kind == "audio_to_text" else model.similarity(text, audio)
    assert (got.argmax(1) == np.arange(3)).all()
    check(got, board["matrix"])


@with_weights
@pytest.mark.parametrize("triplet", GOLDENS["instruction_aware"], ids=named)
def test_the_question_decides_what_is_alike(model, triplet):
    paths = sounds(triplet["query"], triplet["a"], triplet["b"])
    for question, *published in triplet["asked"]:
        query, a, b = model.encode_audio_text([(path, question) for path in paths], instruction=QUERY_INSTRUCTION)
        got = [float(query @ a), float(query @ b)]
        assert (got[0] > got[1]) == (published[0] > published[1])
        check(got, published)


@with_weights
@pytest.mark.parametrize("row", GOLDENS["qa"], ids=named)
def test_the_right_answer_is_nearest(model, row):
    query = model.encode_audio_text([(sounds(row["audio"])[0], row["question"])], instruction=QUERY_INSTRUCTION)
    got = model.similarity(query, model.encode_text(row["answers"]))[0]
    assert int(got.argmax()) == row["correct"]
    check(got, row["scores"])
