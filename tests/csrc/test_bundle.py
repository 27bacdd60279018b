"""A bundle in C++ gives the vectors that Python gives for the checkpoint it was made of."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import harken
from harken import errors
from harken.engine.export.manifest import read_manifest
from harken.engine.export.targets import export
from harken.engine.recipes import get_recipe

from .. import tiny
from ..engine.export import make
from ..tolerances import COSINE_BUNDLE, VECTOR_BUNDLE

CLIPS = Path(str(files("harken.engine"))) / "assets" / "clips"
pytestmark = pytest.mark.timeout(1500)

TEXTS = [
    "a dog barks",
    "It's HE'LL",
    "Rain  on\ta roof;\n\n 1234",
    "Glocken \N{BELL} caf\u00e9 \u9e1f\u53eb",
    "x" * 700,
    " . ",
]
NUM_SAMPLES = [321, 1600, 16000, 32160, 70001]


# Qwen2's own; the tiny tokenizer's lacks the contractions, and the core knows published ones alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return with_known_split(make.mini(tmp_path_factory.mktemp("mini")))


@pytest.fixture(scope="module")
def omni(tmp_path_factory):
    return with_known_split(make.omni(tmp_path_factory.mktemp("omni")))


def with_known_split(made):
    path = made.folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = SPLIT
    path.write_text(json.dumps(values))
    return made


def check_same(core, made, bundle, recipe=None, **options):
    """Sounds and texts, each alone and together, by C++ and by Python; gives the C++ model."""
    embedder = harken.load(
        made.folder, adapter=made.adapter, recipe=recipe or made.recipe, device="cpu", dtype="float32"
    )
    model = core.Model(str(bundle), num_threads=2, batch_tokens=200, **options)
    assert (model.dim, model.sample_rate_hz, model.fingerprint) == (embedder.dim, 16000, embedder.fingerprint.id)
    clips = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(NUM_SAMPLES)]
    want = embedder.encode_audio(clips)
    np.testing.assert_allclose(model.encode_audio(clips), want, atol=VECTOR_BUNDLE)
    np.testing.assert_allclose(model.encode_audio(clips[2:3]), want[2:3], atol=VECTOR_BUNDLE)
    np.testing.assert_allclose(model.encode_text(TEXTS), embedder.encode_text(TEXTS), atol=VECTOR_BUNDLE)
    for text in TEXTS:
        assert model.tokenize(text) == embedder.tokenizer.encode(text).ids
    return model


def test_whole_clips_mean_and_heads(core, mini, tmp_path):
    check_same(core, mini, export(out=tmp_path / "bundle", to="bundle", **mini.args))


def test_windows_and_last_token(core, omni, tmp_path):
    check_same(core, omni, export(out=tmp_path / "bundle", to="bundle", **omni.args))


@pytest.mark.parametrize(
    "name, changes",
    [
        ("oea-qwen3b", {"max_text_tokens": 7}),
        ("omni-embed-nemotron", {"backbones": ("qwen2_5_omni",), "pooling": "mean-content"}),
        ("lco-embedding-3b", {"max_audio_s": 1.5, "long_audio": "window-mean", "normalize": False}),
        ("aurola-3b", {"min_audio_s": 2.0, "feature_window_s": 4.0, "max_audio_s": 3.0}),
    ],
)
def test_recipes(core, omni, tmp_path, name, changes):
    recipe = replace(get_recipe(name), **changes)
    if recipe.audio_head is not None:
        tiny.write_heads(omni.adapter, [recipe.audio_head, recipe.text_head], width=48, dim=20)
    args = {**omni.args, "recipe": recipe}
    check_same(core, omni, export(out=tmp_path / "bundle", to="bundle", **args), recipe)


def test_sounds_with_a_text(core, omni, mini, tmp_path):
    bundle = export(out=tmp_path / "bundle", to="bundle", **omni.args)
    model = core.Model(str(bundle), num_threads=2, batch_tokens=200)
    embedder = harken.load(omni.folder, adapter=omni.adapter, recipe=omni.recipe, device="cpu", dtype="float32")
    pairs = [((tiny.wave(n, seed=n), 16000), text) for n, text in zip(NUM_SAMPLES, TEXTS)]
    want = embedder.encode_audio_text(pairs)
    np.testing.assert_allclose(model.encode_audio_text(pairs), want, atol=VECTOR_BUNDLE)
    np.testing.assert_allclose(model.encode_audio_text(pairs[3:4]), want[3:4], atol=VECTOR_BUNDLE)
    with pytest.raises(errors.InputError, match=r"texts\[1\].*visible"):
        model.encode_audio_text([pairs[0], (pairs[1][0], "\t")])
    other = core.Model(str(export(out=tmp_path / "mini", to="bundle", **mini.args)))
    with pytest.raises(errors.InputError, match="takes no sound together with a text"):
        other.encode_audio_text(pairs)


def test_long_silences_are_dropped_before_a_sound_is_cut(core, omni, tmp_path):
    recipe = replace(
        get_recipe("lco-embedding-3b"), max_audio_s=1.0, long_audio="window-mean", silence_db=40.0, silence_s=0.3
    )
    bundle = export(out=tmp_path / "bundle", to="bundle", **{**omni.args, "recipe": recipe})
    model = core.Model(str(bundle), num_threads=1)
    embedder = harken.load(omni.folder, adapter=omni.adapter, recipe=recipe, device="cpu", dtype="float32")
    pause = np.zeros(9001, np.float32)
    parts = [tiny.wave(9000, seed=1), pause, tiny.wave(7321, seed=2), 1e-4 * tiny.wave(8000, seed=3), pause[:1000]]
    clip, heard = (np.concatenate(some) for some in (parts, parts[::2]))
    got = model.encode_audio([(clip, 16000), (heard, 16000), (np.concatenate(parts[:2])[:15999], 16000)])
    want = embedder.encode_audio([(clip, 16000), (heard, 16000), (np.concatenate(parts[:2])[:15999], 16000)])
    np.testing.assert_allclose(got, want, atol=VECTOR_BUNDLE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_narrow_weights(core, mini, tmp_path, dtype):
    bundle = export(out=tmp_path / "bundle", to="bundle", dtype=dtype, **mini.args)
    embedder = harken.load(mini.folder, adapter=mini.adapter, recipe=mini.recipe, device="cpu", dtype="float32")
    model = core.Model(str(bundle), num_threads=1)
    assert model.fingerprint != embedder.fingerprint.id
    clips = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(NUM_SAMPLES)]
    for got, want in (
        (model.encode_audio(clips), embedder.encode_audio(clips)),
        (model.encode_text(TEXTS), embedder.encode_text(TEXTS)),
    ):
        assert (got * want).sum(1).min() > COSINE_BUNDLE[dtype]


def test_int8_weights_are_half_a_step_off_at_most(omni, tmp_path):
    bundle = export(out=tmp_path / "bundle", to="bundle", dtype="int8", **omni.args)
    tensors, num_spans = load_file(bundle / "weights.safetensors"), set()
    model = harken.load(omni.folder, adapter=omni.adapter, recipe=omni.recipe, device="cpu", dtype="float32").model
    for name, layer in model.named_modules():
        if (scales := tensors.get(f"{name}.scales")) is None:
            continue
        num_out, num_in = layer.weight.shape
        numbers = tensors[f"{name}.panels"].transpose(0, 2, 1).reshape(-1, num_in)[:num_out]
        steps = scales.T[:num_out].repeat(64, axis=1)[:, :num_in]
        assert (np.abs(numbers * steps - layer.weight.numpy()) <= 0.5001 * steps).all(), name
        num_spans.add(len(scales))
    assert max(num_spans) > 1


def test_int8_weights_with_a_scale_a_row_are_refused(core, mini, tmp_path):
    bundle = export(out=tmp_path / "bundle", to="bundle", dtype="int8", **mini.args)
    tensors = load_file(bundle / "weights.safetensors")
    save_file(
        {k: v[0].copy() if k.endswith("qkv.scales") else v for k, v in tensors.items()}, bundle / "weights.safetensors"
    )
    with pytest.raises(errors.FileFormatError, match=r"qkv\.scales has shape \[\d+\]; wanted \[\d+, \d+\]"):
        core.Model(str(bundle))


def test_golden_vectors_come_out(core, mini, tmp_path):
    bundle = export(out=tmp_path / "bundle", to="bundle", **mini.args)
    golden = load_file(bundle / "golden.safetensors")
    items = read_manifest(bundle)["golden"]["items"]
    model = core.Model(str(bundle))
    for item in items:
        name = item["name"]
        if item["kind"] == "text":
            got = model.encode_text([item["text"]])
        else:
            got = model.encode_audio([(golden[f"{name}.samples"], 16000)])
        np.testing.assert_allclose(got[0], golden[f"{name}.vector"], atol=VECTOR_BUNDLE)


def test_errors_are_harkens_own(core, mini, tmp_path):
    bundle = export(out=tmp_path / "bundle", to="bundle", **mini.args)
    model = core.Model(str(bundle))
    with pytest.raises(errors.AudioError, match="sample 3"):
        model.encode_audio([(np.array([0, 0, 0, np.inf], np.float32), 16000)])
    with pytest.raises(errors.InputError, match=r"texts\[1\].*visible"):
        model.encode_text(["a", " "])
    with pytest.raises(errors.InputError, match="takes no instruction"):
        model.encode_text(["a"], instruction="b")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["bundle_version"] = 99
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(errors.ModelError, match="version 99"):
        core.Model(str(bundle))


def test_what_libharken_cannot_run_is_refused(mini, tmp_path):
    for options in ({"dtype": "int4"},):
        with pytest.raises(errors.InputError, match="int4"):
            export(out=tmp_path / "a", to="bundle", **mini.args, **options)
    from ..tiny_midasheng import midasheng

    with pytest.raises(errors.ModelError, match="Whisper-type"):
        export(midasheng(tmp_path / "other"), tmp_path / "b", to="bundle", recipe="alm2vec")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_built_in_model(core, tmp_path):
    """harken-mini itself, on the demo's clips and on its own tokenizer."""
    try:
        embedder = harken.load(device="cpu", dtype="float32")
    except errors.ModelError as error:
        pytest.skip(f"the built-in model is not here: {error}")
    clips = [embedder.load_clip(path, path.name) for path in sorted(CLIPS.glob("*.ogg"))[:3]]
    model = core.Model(str(export(None, tmp_path / "bundle", to="bundle")))
    got = model.encode_audio([(clip.samples, 16000) for clip in clips])
    np.testing.assert_allclose(got, embedder.encode_clips(clips), atol=VECTOR_BUNDLE)
    np.testing.assert_allclose(model.encode_text(TEXTS), embedder.encode_text(TEXTS), atol=VECTOR_BUNDLE)
