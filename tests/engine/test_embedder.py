"""The engine's face on a tiny checkpoint: same vectors as transformers, alone or in any company; failures stay alone."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import harken
from harken.engine.recipes import Recipe
from harken.errors import AudioError, InputError, ModelError

from .. import tiny, tolerances
from .hf import Qwen2AudioOracle

RECIPE = Recipe(
    name="test",
    source="own",
    backbones=("qwen2_audio",),
    audio_template="<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|>{instruction}<|im_end|>\n",
    text_template="<|im_start|>user\n{text}<|im_end|>\n",
    pooling="mean",
    normalize_before_head=True,
    audio_head="audio_head",
    text_head="text_head",
    max_audio_s=2.0,
)
LENGTHS = [480, 3200, 16000, 16000, 31999, 8005]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80, tied=True)
    generator = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    heads = {}
    for name in ("audio_head", "text_head"):
        heads[f"{name}.linear.weight"] = draw(32, 48) / 7
        heads[f"{name}.norm.weight"], heads[f"{name}.norm.bias"] = 1 + 0.1 * draw(32), 0.1 * draw(32)
    save_file(heads, folder / "heads.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return harken.load(folder, recipe=RECIPE, batch_tokens=90)


@pytest.fixture(scope="module")
def clips():
    return [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(LENGTHS)]


def expected(folder, oracle, prompt, clips, head):
    from safetensors.torch import load_file

    heads = load_file(folder / "heads.safetensors")
    pooled = F.normalize(oracle.hidden(prompt, clips).mean(0), dim=-1)
    projected = heads[f"{head}.linear.weight"] @ pooled
    normed = F.layer_norm(projected, (32,), heads[f"{head}.norm.weight"], heads[f"{head}.norm.bias"])
    return F.normalize(normed, dim=-1).numpy()


def test_vectors_equal_transformers(folder, model, clips):
    oracle = Qwen2AudioOracle(folder)
    audio = model.encode_audio(clips, instruction="listen")
    assert audio.dtype == np.float32 and audio.shape == (len(clips), model.dim)
    prompt = RECIPE.audio_template.replace("{instruction}", "listen")
    for (samples, _), got in zip(clips, audio):
        want = expected(folder, oracle, prompt, [samples], "audio_head")
        assert np.abs(got - want).max() < tolerances.VECTOR_FP32
    for text, got in zip(["a dog", "rain and wind"], model.encode_text(["a dog", "rain and wind"])):
        want = expected(folder, oracle, RECIPE.text_template.format(text=text), [], "text_head")
        assert np.abs(got - want).max() < tolerances.VECTOR_FP32


def test_company_and_order_change_nothing(model, clips):
    together = model.encode_audio(clips)
    for i, clip in enumerate(clips):
        assert np.abs(model.encode_audio([clip])[0] - together[i]).max() < tolerances.BATCH_INVARIANCE
    assert np.abs(model.encode_audio(clips[::-1])[::-1] - together).max() < tolerances.BATCH_INVARIANCE


def test_one_bad_sound_fails_alone(model, clips, tmp_path):
    (tmp_path / "bad.wav").write_text("this is no sound")
    nan = np.full(16000, np.nan, np.float32)
    sources = [clips[0], tmp_path / "bad.wav", clips[1], (nan, 16000), tmp_path / "missing.wav", clips[2]]
    seen = []
    encoded = model.try_encode_audio(sources, progress=seen.append)
    assert encoded.rows == [0, 2, 5] and [f.row for f in encoded.failures] == [1, 3, 4]
    assert np.abs(encoded.vectors - model.encode_audio(clips[:3])).max() < tolerances.BATCH_INVARIANCE
    assert encoded.durations_s == [len(clips[i][0]) / 16000 for i in range(3)]
    assert "bad.wav" in encoded.failures[0].error and "sources[3]" in encoded.failures[1].error
    assert sum(seen) == len(sources)
    with pytest.raises(AudioError, match=r"bad\.wav.*2 more of 6"):
        model.encode_audio(sources)


def test_nothing_in_gives_nothing_out(model):
    assert model.encode_audio([]).shape == (0, model.dim)
    assert model.encode_text([]).shape == (0, model.dim)


def test_a_clip_too_short_to_hear_is_an_error(model):
    with pytest.raises(AudioError, match="too short"):
        model.encode_audio([(np.zeros(200, np.float32), 16000)])


@pytest.mark.parametrize(
    ("long_audio", "said"), [("error", "longer"), ("truncate", None), ("window-mean", None)], ids=lambda v: str(v)
)
def test_long_sounds_follow_the_recipe(folder, long_audio, said):
    recipe = Recipe.from_dict({**RECIPE.to_dict(), "long_audio": long_audio})
    model = harken.load(folder, recipe=recipe)
    long = tiny.wave(5 * 16000)
    if said:
        with pytest.raises(AudioError, match=said):
            model.encode_audio([(long, 16000)])
        return
    got = model.encode_audio([(long, 16000)])[0]
    parts = model.encode_audio([(long[i : i + 32000], 16000) for i in (0, 32000, 64000)])
    mean = parts.mean(0) / np.linalg.norm(parts.mean(0))
    assert np.abs(got - (parts[0] if long_audio == "truncate" else mean)).max() < tolerances.BATCH_INVARIANCE


def test_wrong_arguments_are_named(folder, model):
    with pytest.raises(InputError, match="list of strings"):
        model.encode_text("a dog")
    with pytest.raises(InputError, match=r"texts\[1\]: a text is empty"):
        model.encode_text(["a dog", " "])
    with pytest.raises(InputError, match="list of sounds"):
        model.encode_audio("dog.wav")
    with pytest.raises(InputError, match="takes no instruction"):
        model.encode_text(["a dog"], instruction="find it")
    with pytest.raises(InputError, match="dtype must be one of"):
        harken.load(folder, recipe=RECIPE, dtype="int4")
    with pytest.raises(InputError, match="device must be"):
        harken.load(folder, recipe=RECIPE, device="toaster")
    with pytest.raises(ModelError, match="no harken.json that names a recipe"):
        harken.load(folder)
    with pytest.raises(ModelError, match="no recipe 'unheard-of'"):
        harken.load(folder, recipe="unheard-of")
    with pytest.raises(ModelError, match="is no folder and no hub repository"):
        harken.load(folder / "nothing/here/at/all")


def test_the_folder_can_name_its_recipe(folder, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(RECIPE.to_dict()))
    assert harken.load(folder, recipe=path).recipe == RECIPE


def test_a_wrong_recipe_file_is_named(folder, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**RECIPE.to_dict(), "poling": "mean"}))
    with pytest.raises(ModelError, match=r"mine\.json: unknown fields \['poling'\]"):
        harken.load(folder, recipe=path)


def test_bfloat16_stays_close(folder, clips):
    recipe = Recipe.from_dict({**RECIPE.to_dict(), "audio_head": None, "text_head": None})
    full, half = (harken.load(folder, recipe=recipe, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert (half.encode_audio(clips) * full.encode_audio(clips)).sum(1).min() > tolerances.COSINE_BF16
    assert (half.encode_text(["a dog"]) * full.encode_text(["a dog"])).sum(1).min() > tolerances.COSINE_BF16
    assert half.fingerprint.id != full.fingerprint.id


def test_similarity_is_the_cosine(model):
    a = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)
    assert np.allclose(model.similarity(a, a), [[1.0, 0.8], [0.8, 1.0]])
    with pytest.raises(InputError, match=r"similarity wants \[n, d\]"):
        model.similarity(a, a[:, :1])
