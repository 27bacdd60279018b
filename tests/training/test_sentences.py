"""Sentence vectors equal transformers', alone or together."""

import numpy as np
import pytest
import torch

from harken.errors import InputError, ModelError
from harken.training.sentences import SentenceEncoder

from .. import tiny, tolerances

TEXTS = ["a dog barks", "rain", "somebody is speaking over music while cars pass by in the rain", "a dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("sentences")
    tiny.write_tokenizer(folder)
    config = BertConfig(
        vocab_size=tiny.VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    model = BertModel(config)
    tiny.randomize(model)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_are_those_of_the_sentence_alone(folder, pooling):
    from transformers import AutoModel, AutoTokenizer

    vectors = SentenceEncoder(folder, pooling=pooling, batch_size=3).encode_text(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for text, vector in zip(TEXTS, vectors):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = states[0] if pooling == "cls" else states.mean(0)
        np.testing.assert_allclose(vector, (expected / expected.norm()).numpy(), atol=tolerances.VECTOR_FP32)


def test_long_texts_are_cut(folder):
    encoder = SentenceEncoder(folder, max_tokens=8)
    long = "a dog barks in the rain " * 20
    np.testing.assert_allclose(
        encoder.encode_text([long])[0], encoder.encode_text([long + " music"])[0], atol=tolerances.VECTOR_FP32
    )


def test_wrong_use_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="pooling is 'max'"):
        SentenceEncoder(folder, pooling="max")
    with pytest.raises(ModelError, match="holds no config.json"):
        SentenceEncoder(tmp_path)
