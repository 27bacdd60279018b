"""The local captioner says what transformers' own generation says, one at a time or together, with and without ears."""

import pytest
import torch

from harken.engine.audio import Waveform
from harken.errors import ModelError
from harken.training.captions import NoReply, Request
from harken.training.captions.local import LocalCaptioner

from ... import tiny

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("local") / "hearing")


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("local") / "reading"
    folder.mkdir()
    tiny.write_tokenizer(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=tiny.VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    tiny.randomize(model)
    model.save_pretrained(folder)
    return folder


def request(text: str, *, audio=None, temperature: float = 0.0, seed: int = 0) -> Request:
    return Request(
        text, "Be brief", (("What?", "A dog"),), text, audio, max_tokens=8, temperature=temperature, seed=seed
    )


def sound(seed: int, num_samples: int) -> Waveform:
    return Waveform(tiny.wave(num_samples, seed), 16000, str(seed))


def test_a_text_model_says_what_transformers_says(reading):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    captioner = LocalCaptioner(reading)
    assert not captioner.hears
    requests = [request("Rain"), request("Somebody is speaking over music")]
    together = captioner.replies(requests)
    assert together == [captioner.replies([one])[0] for one in requests]
    tokenizer, model = AutoTokenizer.from_pretrained(reading), AutoModelForCausalLM.from_pretrained(reading).eval()
    prompt = (
        "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nA dog<|im_end|>\n"
        "<|im_start|>user\nRain<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.inference_mode():
        new = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert together[0] == tokenizer.decode(new, skip_special_tokens=True).strip()


def test_a_model_that_hears_answers_to_the_sound(hearing):
    captioner = LocalCaptioner(hearing)
    assert captioner.hears and captioner.sample_rate_hz == 16000
    requests = [request("Rain?", audio=sound(1, 9000)), request("Rain?", audio=sound(2, 30000)), request("Rain?")]
    together = captioner.replies(requests)
    assert together == [captioner.replies([one])[0] for one in requests]
    assert len(set(map(str, together))) > 1


def test_sampling_follows_the_seed(reading):
    captioner = LocalCaptioner(reading)
    draws = [captioner.replies([request("Rain", temperature=2.0, seed=seed)])[0] for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1] and len(set(map(str, draws))) > 1


def test_a_model_without_ears_refuses_sounds_one_by_one(reading):
    got = LocalCaptioner(reading).replies([request("Rain", audio=sound(1, 1600)), request("Rain")])
    assert isinstance(got[0], NoReply) and "hears nothing" in got[0].reason and isinstance(got[1], str)


def test_a_model_that_hears_without_its_processor_is_named(hearing, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(hearing / name)
    with pytest.raises(ModelError, match="has no processor for sounds|cannot be loaded"):
        LocalCaptioner(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="holds no config.json"):
        LocalCaptioner(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        LocalCaptioner(tmp_path)
