"""The merged checkpoint: transformers and harken make of it what base and adapter give together."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import harken
from harken.engine.export import golden, manifest, merged
from harken.engine.export.check import check_export
from harken.engine.export.targets import export
from harken.errors import FileFormatError, InputError, ModelError, OutputError

from ... import tiny, tiny_clap, tiny_midasheng, tolerances
from ..hf import OmniOracle, Qwen2AudioOracle
from . import make


@pytest.fixture(scope="module")
def exported(omni, mini, tmp_path_factory):
    """model -> the folder it was exported to."""
    out = tmp_path_factory.mktemp("hf")
    return {
        "omni": export(**omni.args, to="hf", out=out / "omni"),
        "mini": export(**mini.args, to="hf", out=out / "mini"),
    }


@pytest.mark.parametrize("name", ["omni", "mini"])
def test_loads_without_adapter_and_recipe_and_gives_the_same_vectors(name, exported, request):
    given = request.getfixturevalue(name)
    want = harken.load(given.folder, recipe=given.recipe, adapter=given.adapter, device="cpu")
    base = harken.load(given.folder, recipe=given.recipe, device="cpu")
    got = harken.load(exported[name], device="cpu")
    texts, clips = ["a dog barks", "rain"], [(tiny.wave(9000), 16000), (tiny.wave(40000, 1), 16000)]
    for encode in (lambda model: model.encode_text(texts), lambda model: model.encode_audio(clips)):
        assert np.abs(encode(got) - encode(want)).max() < tolerances.VECTOR_FP32
        assert np.abs(encode(base) - encode(want)).max() > 100 * tolerances.VECTOR_FP32


def test_transformers_gives_what_harken_gives(exported):
    wave = tiny.wave(17000)
    for folder, oracle in (
        (exported["omni"], OmniOracle(exported["omni"])),
        (exported["mini"], Qwen2AudioOracle(exported["mini"])),
    ):
        model = harken.load(folder, device="cpu")
        states = oracle.hidden(model.recipe.audio_template, [wave])
        pooled = states[-1] if model.recipe.pooling == "last" else states.mean(0)
        head = model.audio_head
        with torch.no_grad():
            want = pooled if head is None else head(pooled[None])[0]
        got = model.encode_audio([(wave, 16000)])[0]
        assert np.abs(got - (want / want.norm()).numpy()).max() < tolerances.VECTOR_FP32


def test_names_shards_dtypes_and_parts_that_harken_never_runs_stay(omni, exported):
    before, after = (sorted(p.glob("model*.safetensors")) for p in (omni.folder, exported["omni"]))
    assert [p.name for p in before] == [p.name for p in after] and len(before) == 3
    changed = 0
    for a, b in zip(before, after):
        old, new = load_file(a), load_file(b)
        assert {k: (v.dtype, v.shape) for k, v in old.items()} == {k: (v.dtype, v.shape) for k, v in new.items()}
        changed += sum(not torch.equal(old[k], new[k]) for k in old)
    assert changed == 3 * 7 + 1
    index = json.loads((exported["omni"] / "model.safetensors.index.json").read_text())
    assert any(name.startswith("talker.") for name in index["weight_map"])
    assert index["metadata"]["total_size"] == sum(v.nbytes for p in after for v in load_file(p).values())


def test_both_forms_of_the_rotary_base_stand_in_the_config(exported):
    texts = {
        "omni": json.loads((exported["omni"] / "config.json").read_text())["thinker_config"]["text_config"],
        "mini": json.loads((exported["mini"] / "config.json").read_text())["text_config"],
    }
    for name, theta in (("omni", 1e6), ("mini", 1e4)):
        assert texts[name]["rope_theta"] == texts[name]["rope_parameters"]["rope_theta"] == theta
    assert texts["omni"]["rope_scaling"]["mrope_section"] == [2, 2, 2] and texts["mini"]["rope_scaling"] is None


def test_a_dtype_is_cast_once_from_the_float32_merge(omni, exported, tmp_path):
    out = export(**omni.args, to="hf", out=tmp_path / "half", dtype="bfloat16")
    wide = {k: v for p in exported["omni"].glob("model*.safetensors") for k, v in load_file(p).items()}
    for file in out.glob("model*.safetensors"):
        for key, tensor in load_file(file).items():
            assert torch.equal(tensor, wide[key].bfloat16())
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    assert manifest.read_manifest(out)["golden"]["min_cosine"] == 0.999


def test_golden_vectors_are_those_of_the_merged_model(exported):
    facts = manifest.read_manifest(exported["mini"])
    kept = load_file(exported["mini"] / "golden.safetensors")
    model = harken.load(exported["mini"], device="cpu")
    for item in facts["golden"]["items"]:
        name = item["name"]
        if item["kind"] == "text":
            got = model.encode_text([item["text"]])[0]
        else:
            got = model.encode_audio([(kept[f"{name}.samples"].numpy(), 16000)])[0]
        assert np.abs(got - kept[f"{name}.vector"].numpy()).max() < tolerances.VECTOR_FP32
    assert {item["kind"] for item in facts["golden"]["items"]} == {"text", "audio"}


def test_a_recipe_of_ones_own_travels_along(mini, tmp_path):
    own = tmp_path / "own.json"
    recipe = harken.load(mini.folder, recipe="harken-mini", device="cpu").recipe.to_dict()
    own.write_text(json.dumps({**recipe, "name": "mine", "text_template": "say: {text}"}))
    out = export(mini.folder, tmp_path / "out", to="hf", adapter=mini.adapter, recipe=own)
    want = harken.load(mini.folder, recipe=own, adapter=mini.adapter, device="cpu")
    got = harken.load(out, device="cpu")
    assert got.recipe == want.recipe and got.recipe.name == "mine"
    assert np.abs(got.encode_text(["rain"]) - want.encode_text(["rain"])).max() < tolerances.VECTOR_FP32


def test_a_changed_or_missing_file_is_named(mini, tmp_path):
    out = export(**mini.args, to="hf", out=tmp_path / "out")
    (out / "tokenizer.json").write_text((out / "tokenizer.json").read_text() + " ")
    (out / "preprocessor_config.json").unlink()
    with pytest.raises(FileFormatError, match="preprocessor_config.json, tokenizer.json"):
        manifest.read_manifest(out)
    with pytest.raises(FileFormatError, match="no manifest"):
        manifest.read_manifest(mini.folder)


def test_a_folder_that_exists_is_left_alone(mini, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        export(**mini.args, to="hf", out=tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


@pytest.fixture
def limit_files():
    """Sets how large a file may become, which fails as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda num_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_weights_are_written_leaves_nothing(mini, tmp_path, limit_files):
    limit_files(200_000)
    with pytest.raises(OutputError, match="the disk is full"):
        export(**mini.args, to="hf", out=tmp_path / "out")
    limit_files(-1)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_at_the_golden_vectors_leaves_nothing(mini, tmp_path, limit_files, monkeypatch):
    def save_on_a_full_disk(*args, **kwargs):
        limit_files(1000)
        save_file(*args, **kwargs)

    monkeypatch.setattr(golden, "save_file", save_on_a_full_disk)
    with pytest.raises(OutputError, match="the disk is full"):
        export(**mini.args, to="hf", out=tmp_path / "out")
    limit_files(-1)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(mini, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="takes about .* the disk has"):
        export(**mini.args, to="hf", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(mini, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(merged.MergedCheckpoint, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(**mini.args, to="hf", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["hf", "trtllm", "trtllm-engine"])
def test_an_adapter_that_was_never_merged_is_refused(mini, tmp_path, to):
    tensors = load_file(mini.folder / "model.safetensors")
    model = tmp_path / "model"
    model.mkdir()
    for path in mini.folder.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    key = next(k for k in tensors if k.endswith("layers.0.self_attn.q_proj.weight"))
    tensors[key.replace("weight", "lora_A.weight")] = torch.ones(4, 48)
    tensors[key.replace("weight", "lora_B.weight")] = torch.ones(48, 4)
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(ModelError, match="holds an adapter that was never merged"):
        export(model, tmp_path / "out", to=to, recipe="harken-mini")
    with pytest.raises(ModelError, match="is an adapter; wanted"):
        export(mini.adapter, tmp_path / "out", to=to, recipe="harken-mini")
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_fits_no_tensor_is_refused(mini, omni, tmp_path):
    tensors = load_file(mini.adapter / "adapter_model.safetensors")
    tensors["base_model.model.model.layers.9.mlp.up_proj.lora_A.weight"] = torch.ones(4, 48)
    tensors["base_model.model.model.layers.9.mlp.up_proj.lora_B.weight"] = torch.ones(128, 4)
    adapter = tmp_path / "lora"
    adapter.mkdir()
    save_file(tensors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text((mini.adapter / "adapter_config.json").read_text())
    with pytest.raises(ModelError, match=r"layers\.9\.mlp\.up_proj"):
        export(mini.folder, tmp_path / "out", to="hf", adapter=adapter, recipe="harken-mini")
    assert not (tmp_path / "out").exists()


def test_what_no_target_takes_is_refused_by_name(mini, tmp_path):
    with pytest.raises(InputError, match="no target 'gguf'; there are hf, trtllm"):
        export(**mini.args, to="gguf", out=tmp_path / "out")
    with pytest.raises(InputError, match="'hf' has no option tp; it takes dtype"):
        export(**mini.args, to="hf", out=tmp_path / "out", tp=2)
    with pytest.raises(InputError, match="got 'float8'"):
        export(**mini.args, to="hf", out=tmp_path / "out", dtype="float8")


def test_an_unknown_architecture_is_refused_by_name(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="model_type is 'bert'; harken runs"):
        export(model, tmp_path / "out", to="hf", recipe="harken-mini")


def test_streamed_models_equal_loaded_ones_for_every_backbone(tmp_path):
    from harken.engine.export.streamed import streamed_embedder
    from harken.engine.load import find_source

    clap, midasheng = tiny_clap.clap(tmp_path / "clap"), tiny_midasheng.midasheng(tmp_path / "midasheng")
    adapter = make.lora(midasheng, tmp_path / "lora")
    for folder, lora, recipe in ((clap, None, "laion-clap"), (midasheng, adapter, "alm2vec")):
        streamed = streamed_embedder(find_source(folder, recipe=recipe, adapter=lora))
        loaded = harken.load(folder, recipe=recipe, adapter=lora, device="cpu")
        assert np.abs(streamed.encode_text(["rain"]) - loaded.encode_text(["rain"])).max() == 0
        clip = [(tiny.wave(30000), 16000)]
        assert np.abs(streamed.encode_audio(clip) - loaded.encode_audio(clip)).max() == 0


def test_sentence_transformers_gives_the_same_vectors_where_it_can(mini, tmp_path):
    transformers_of = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    model = tiny.qwen2_audio(tmp_path / "model")
    out = export(model, tmp_path / "out", to="hf", recipe="qwen2-audio")
    assert manifest.read_manifest(out)["sentence_transformers"] == "written"
    want, got = harken.load(out, device="cpu"), transformers_of.SentenceTransformer(str(out), device="cpu")
    texts, waves = ["rain", "a dog barks"], [tiny.wave(9000), tiny.wave(30000, 1)]
    assert np.abs(got.encode(texts) - want.encode_text(texts)).max() < tolerances.VECTOR_FP32
    heard = got.encode([{"array": wave, "sampling_rate": 16000} for wave in waves])
    assert np.abs(heard - want.encode_audio([(wave, 16000) for wave in waves])).max() < tolerances.VECTOR_FP32


def test_what_sentence_transformers_cannot_express_is_told(exported):
    for name, reason in (("mini", "vectors go through heads"), ("omni", "models of type qwen2_5_omni are not known")):
        assert reason in manifest.read_manifest(exported[name])["sentence_transformers"]
        assert not (exported[name] / "modules.json").exists()


@pytest.mark.parametrize(
    ("make_model", "recipe"),
    [
        (tiny_clap.clap, "laion-clap"),
        (tiny_clap.robust_atr, "robust-atr"),
        (tiny_midasheng.midasheng, "alm2vec"),
        (lambda folder: tiny.omni(folder, "nv"), "omni-embed-nemotron"),
    ],
)
def test_every_kind_of_model_passes_its_check(make_model, recipe, tmp_path):
    out = export(make_model(tmp_path / "model"), tmp_path / "out", to="hf", recipe=recipe)
    rows = check_export(out)
    assert len(rows) == 6 and all(row["ok"] for row in rows)
