"""Templates: the same ids as tokenising the whole string, spans where the content is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import InputError, ModelError

from ... import tiny


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(folder)
    return Tokenizer(folder)


AUDIO = "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>{text}\n{instruction}<|im_end|>\n"


def test_audio_prompt_is_the_whole_string_tokenised(tokenizer):
    audio_id = tokenizer.token_id("<|AUDIO|>")
    template = Template(tokenizer, AUDIO, audio_token_id=audio_id)
    prompt = template.audio(5, text="What is that?", instruction="Be brief.")
    whole = AUDIO.format(audio="<|AUDIO|>" * 5, text="What is that?", instruction="Be brief.")
    assert prompt.token_ids == tokenizer.encode(whole).ids
    first, count = prompt.audio_span
    assert prompt.token_ids[first : first + count] == [audio_id] * 5
    assert prompt.content == (first, first + 5)


@given(text=st.text(min_size=1, max_size=40).filter(str.strip))
@settings(max_examples=100, deadline=None)
def test_text_prompt_is_the_whole_string_tokenised(tokenizer, text):
    prompt = Template(tokenizer, "<|im_start|>user\nquery:{text}<|im_end|>\n").text(text)
    assert prompt.token_ids == tokenizer.encode(f"<|im_start|>user\nquery:{text}<|im_end|>\n").ids
    start, stop = prompt.content
    assert 0 < start < stop < len(prompt)


def test_content_span_holds_the_text(tokenizer):
    prompt = Template(tokenizer, "<|im_start|>user\n{text}<|im_end|>\n").text("rain over music")
    start, stop = prompt.content
    assert prompt.token_ids[start:stop] == tokenizer.encode("rain over music").ids


def test_long_texts_are_cut_at_a_token(tokenizer):
    text = "a dog barks in the rain while cars pass by"
    ids = tokenizer.encode(text).ids
    assert len(ids) > 4
    prompt = Template(tokenizer, "<|im_start|>{text}<|im_end|>", max_text_tokens=4).text(text)
    assert prompt.token_ids[1:-1] == ids[:4]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_text_is_refused(tokenizer, text):
    with pytest.raises(InputError, match="text is empty"):
        Template(tokenizer, "{text}").text(text)


def test_text_of_another_type_is_refused(tokenizer):
    with pytest.raises(InputError, match="must be a str, got int"):
        Template(tokenizer, "{text}").text(3)


def test_sounds_need_an_audio_token(tokenizer):
    with pytest.raises(ModelError, match="names no audio token"):
        Template(tokenizer, "{audio}")


def test_missing_or_damaged_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelError, match="tokenizer.json is missing"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as a tokenizer"):
        Tokenizer(tmp_path)
