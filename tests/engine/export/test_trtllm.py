"""TensorRT-LLM: the checkpoints hold the merged model bit for bit at every tp, and compute what transformers computes; the
programs beside them pass their self-test against a stand-in for tensorrt_llm."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import harken
from harken.engine.export import manifest
from harken.engine.export.targets import export
from harken.errors import InputError, ModelError

from ... import tiny, tolerances
from .trtllm_interpreter import Interpreter, stock_tensors

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def merged(omni, mini, tmp_path_factory):
    """The merged checkpoints in half precision, the oracle's weights."""
    out = tmp_path_factory.mktemp("merged")
    return {
        "omni": export(**omni.args, to="hf", out=out / "omni", dtype="float16"),
        "mini": export(**mini.args, to="hf", out=out / "mini", dtype="float16"),
    }


@pytest.fixture(scope="module")
def engines(omni, mini, tmp_path_factory):
    """(model, tp, quant) -> the folder, made once."""
    made, place, models = {}, tmp_path_factory.mktemp("engine"), {"omni": omni, "mini": mini}

    def make(name, tp=1, quant="none"):
        key = f"{name}-{tp}-{quant}"
        if key not in made:
            made[key] = export(
                **models[name].args, to="trtllm-engine", out=place / key, tp=tp, quant=quant, dtype="float16"
            )
        return made[key]

    return make


def decoder_of(folder):
    """The decoder's tensors of an exported hf folder by stock names; biases of zero where there are none."""
    tensors = {k: v for p in folder.glob("model*.safetensors") for k, v in load_file(p).items()}
    found = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("thinker.").replace("language_model.model.", "model.")
        if name.startswith(("model.layers.", "model.norm", "model.embed_tokens")):
            found[name] = tensor
    for name in [n for n in found if n.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))]:
        found.setdefault(name.replace("weight", "bias"), torch.zeros(len(found[name]), dtype=torch.float16))
    return found


@pytest.mark.parametrize("tp", [1, 2, 4])
@pytest.mark.parametrize("name", ["omni", "mini"])
def test_every_tensor_comes_back_bit_for_bit(name, tp, engines, merged):
    """Two key-value heads: at tp 4 each is held by two ranks."""
    folder = engines(name, tp)
    want = decoder_of(merged[name])
    got = stock_tensors(folder / "engine_ckpt")
    got["model.embed_tokens.weight"] = load_file(folder / "text_embedding.safetensors")["model.embed_tokens.weight"]
    assert sorted(got) == sorted(want)
    for key in want:
        assert torch.equal(got[key], want[key]), key


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_names_shapes_and_dtypes_are_those_of_the_format(tp, engines):
    folder = engines("omni", tp) / "engine_ckpt"
    config = json.loads((folder / "config.json").read_text())
    assert config["mapping"] == {"world_size": tp, "tp_size": tp, "pp_size": 1}
    assert (config["qwen_type"], config["rotary_base"], config["norm_epsilon"]) == ("qwen2", 1e6, 1e-6)
    assert config["vocab_size"] == config["hidden_size"] == 48 and config["hidden_act"] == "silu"
    heads, groups, width, mlp = 4 // tp, max(1, 2 // tp), 12, 128 // tp
    layer = {
        "attention.qkv.weight": ((heads + 2 * groups) * width, 48),
        "attention.qkv.bias": ((heads + 2 * groups) * width,),
        "attention.dense.weight": (48, heads * width),
        "mlp.fc.weight": (mlp, 48),
        "mlp.gate.weight": (mlp, 48),
        "mlp.proj.weight": (48, mlp),
        "input_layernorm.weight": (48,),
        "post_layernorm.weight": (48,),
    }
    want = {f"transformer.layers.{i}.{name}": shape for i in range(3) for name, shape in layer.items()}
    want |= {"transformer.vocab_embedding.weight": (48, 48), "transformer.ln_f.weight": (48,)}
    want["lm_head.weight"] = (48 // tp, 48)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", *(f"rank{r}.safetensors" for r in range(tp))]
    for rank in range(tp):
        tensors = load_file(folder / f"rank{rank}.safetensors")
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == want
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
        assert not tensors["transformer.vocab_embedding.weight"].any()


@pytest.fixture(scope="module")
def oracles(merged):
    """Hidden states of rows by transformers, the merged half-precision weights computed in float32."""
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration
    from transformers import Qwen2AudioForConditionalGeneration as Qwen2Audio

    values = json.loads((merged["omni"] / "config.json").read_text())["thinker_config"]
    config = Qwen2_5OmniThinkerConfig.from_dict({**values, "model_type": "qwen2_5_omni_thinker"})
    load = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained
    omni = load(merged["omni"], config=config, dtype=torch.float32).eval().model.language_model
    mini = Qwen2Audio.from_pretrained(merged["mini"], dtype=torch.float32).eval().model.language_model
    with torch.no_grad():
        return {
            name: lambda rows, lm=lm: lm(inputs_embeds=rows[None]).last_hidden_state[0].detach()
            for name, lm in (("omni", omni), ("mini", mini))
        }


@pytest.mark.parametrize("tp", [1, 2, 4])
@pytest.mark.parametrize("name", ["omni", "mini"])
def test_the_interpreter_equals_transformers(name, tp, engines, oracles):
    folder = engines(name, tp)
    rows = [t for key, t in load_file(folder / "golden.safetensors").items() if key.endswith(".inputs")]
    made = Interpreter(folder / "engine_ckpt")
    assert len(rows) == 6
    for one in rows:
        assert (made.context_logits(one) - oracles[name](one)).abs().max() < tolerances.TRTLLM_HIDDEN


@pytest.mark.parametrize("name", ["omni", "mini"])
def test_adapter_to_checkpoint_to_vectors(name, engines, request):
    """LoRA, merge, export, interpreter, pooling and head: the vectors are those of harken with the adapter, not the base's."""
    given, folder = request.getfixturevalue(name), engines(name, 2)
    tensors, facts = load_file(folder / "golden.safetensors"), manifest.read_manifest(folder)
    merged = harken.load(given.folder, recipe=given.recipe, adapter=given.adapter, device="cpu")
    base = harken.load(given.folder, recipe=given.recipe, device="cpu")
    head = standalone(folder).EmbedHead(folder)
    made = Interpreter(folder / "engine_ckpt")
    for item in facts["golden"]["items"]:
        states = made.context_logits(tensors[f"{item['name']}.inputs"])
        got = head.of_kind(head(states, [len(states)]), item["kind"])[0].numpy()
        if item["kind"] == "text":
            want, other = (model.encode_text([item["text"]])[0] for model in (merged, base))
        else:
            samples = tensors[f"{item['name']}.samples"].numpy()
            want, other = (model.encode_audio([(samples, 16000)])[0] for model in (merged, base))
        assert got @ want > 0.9999 > got @ other


def standalone(folder):
    """The exported embed_head.py, as it lies in the folder."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("exported_embed_head", folder / "embed_head.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_w8a16_leaves_the_rounding_to_tensorrt_llm(engines):
    plain, narrow = engines("omni", 2), engines("omni", 2, "w8a16")
    config = json.loads((narrow / "engine_ckpt" / "config.json").read_text())["quantization"]
    assert config == {"quant_algo": "W8A16", "kv_cache_quant_algo": None, "exclude_modules": ["lm_head"]}
    for rank in range(2):
        a, b = (load_file(f / "engine_ckpt" / f"rank{rank}.safetensors") for f in (plain, narrow))
        assert sorted(a) == sorted(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("tp", [1, 4])
def test_fp8_scales_give_the_weights_back_and_vectors_stay_near(tp, engines):
    plain, narrow = engines("omni", tp) / "engine_ckpt", engines("omni", tp, "fp8") / "engine_ckpt"
    for rank in range(tp):
        a, b = (load_file(f / f"rank{rank}.safetensors") for f in (plain, narrow))
        for layer in ("attention.qkv", "attention.dense", "mlp.fc", "mlp.gate", "mlp.proj"):
            at = f"transformer.layers.1.{layer}"
            weight, scale = b[f"{at}.weight"], b[f"{at}.weights_scaling_factor"]
            assert weight.dtype == torch.float8_e4m3fn and scale.shape == (1,) and scale.dtype == torch.float32
            # Four bits of mantissa with the hidden one: half a step is 1/16; near zero half of the smallest step.
            wide = a[f"{at}.weight"].float()
            assert ((weight.float() * scale - wide).abs() <= wide.abs() / 16 + scale * 2**-10).all()
            assert b[f"{at}.activation_scaling_factor"] > 0
        assert b["lm_head.weight"].dtype == torch.float16
    golden = load_file(narrow.parent / "golden.safetensors")
    made, least = Interpreter(narrow), manifest.read_manifest(narrow.parent)["golden"]["min_cosine"]
    head = standalone(narrow.parent).EmbedHead(narrow.parent)
    for name in [key.removesuffix(".inputs") for key in golden if key.endswith(".inputs")]:
        states = made.context_logits(golden[f"{name}.inputs"])
        cosine = F.cosine_similarity(head(states, [len(states)])[0], golden[f"{name}.vector"], dim=0)
        assert least <= cosine < 0.99999


@pytest.fixture
def program(monkeypatch, capsys):
    """Runs a program of an export in this process, with the stand-in for tensorrt_llm; gives exit code and what it said."""
    own = {"tensorrt_llm", "embed_head", "golden_check", "check_version", "modeling_trtllm_embedder"}
    foreign = lambda: [name for name in sys.modules if name.split(".")[0] in own]

    def run(folder, name, *args, version="1.2.1", path=()):
        monkeypatch.setenv("PATH", os.pathsep.join([*map(str, path), "/usr/bin", "/bin"]))
        monkeypatch.setenv("STANDIN_VERSION", version)
        monkeypatch.setattr(sys, "argv", [name, *args])
        monkeypatch.setattr(sys, "path", [str(folder), str(HERE / "standin"), str(HERE), *sys.path])
        try:
            runpy.run_path(str(folder / name), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        for module in foreign():
            del sys.modules[module]
        return code, capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Runs build_engine.sh; python3 is the interpreter of these tests, without the packages it need not have."""
    place = tmp_path_factory.mktemp("bin")
    (place / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (place / "python3").chmod(0o755)

    def run(folder, *, version="1.2.1", path=(), standin=True):
        env = {
            "PYTHONPATH": str(HERE / "standin") if standin else "",
            "PATH": os.pathsep.join([str(place), *map(str, path), "/usr/bin", "/bin"]),
            "STANDIN_VERSION": version,
        }
        return subprocess.run(["./build_engine.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=120)

    return run


def test_build_script_and_runner_pass_the_self_test(engines, build, program, monkeypatch):
    folder = engines("mini", 1)
    built = build(folder, path=[HERE / "standin" / "bin"])
    assert built.returncode == 0, built.stderr
    code, said = program(folder, "run_engine.py", "--selftest", path=[HERE / "standin" / "bin"])
    assert code == 0 and "self-test passed" in said and said.count(" ok") == 6
    monkeypatch.setenv("STANDIN_RANK", "1")
    assert program(folder, "run_engine.py", "--selftest", path=[HERE / "standin" / "bin"]) == (0, "")
    monkeypatch.delenv("STANDIN_RANK")
    tensors = load_file(folder / "engine" / "rank0.safetensors")
    tensors["transformer.ln_f.weight"][0] *= 30
    save_file(tensors, folder / "engine" / "rank0.safetensors")
    code, said = program(folder, "run_engine.py", "--selftest", path=[HERE / "standin" / "bin"])
    assert code == 1 and "SELF-TEST FAILED" in said


def test_a_tensorrt_llm_without_engines_is_refused_and_the_other_export_named(engines, build, program):
    folder = engines("omni", 1)
    told = build(folder, version="1.3.0")
    assert told.returncode != 0 and "harken export --to trtllm" in told.stderr and "1.3.0" in told.stderr
    code, _ = program(folder, "run_engine.py", "--selftest", version="1.3.0")
    assert "harken export --to trtllm" in code
    bare = build(folder, standin=False)
    assert bare.returncode != 0 and "tensorrt_llm cannot be imported" in bare.stderr


@pytest.mark.parametrize(("name", "quant"), [("omni", "none"), ("mini", "none"), ("mini", "fp8")])
def test_the_model_file_for_the_pytorch_backend_passes_its_self_test(name, quant, tmp_path, request, program):
    given = request.getfixturevalue(name)
    out = export(**given.args, to="trtllm", out=tmp_path / "out", quant=quant, dtype="float16")
    code, said = program(out, "run_pytorch_backend.py", "--selftest", version="1.3.0")
    assert code == 0 and said.count(" ok") == 6
    code, _ = program(out, "run_pytorch_backend.py", "--selftest", version="1.2.1")
    assert "harken export --to trtllm-engine" in code
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["AudioTextQwen2ForEmbedding"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == (1e6 if name == "omni" else 1e4)
    assert (out / "hf_quant_config.json").is_file() == (quant == "fp8")


def test_the_stock_checkpoint_is_the_merged_decoder_for_transformers(omni, merged, oracles, tmp_path):
    from transformers import Qwen2ForCausalLM

    out = export(**omni.args, to="trtllm", out=tmp_path / "out", dtype="float16")
    model, told = Qwen2ForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    rows = load_file(out / "golden.safetensors")["audio.2.inputs"]
    with torch.no_grad():
        got = model.model(inputs_embeds=rows[None]).last_hidden_state[0]
    assert (got - oracles["omni"](rows)).abs().max() < tolerances.TRTLLM_HIDDEN
    want = decoder_of(merged["omni"])
    got = load_file(out / "model.safetensors")
    assert sorted(got) == sorted(want) and all(torch.equal(got[key], want[key]) for key in want)


def test_what_tensorrt_llm_cannot_run_is_refused(omni, tmp_path):
    from ... import tiny_clap

    clap = tiny_clap.clap(tmp_path / "clap")
    nv = tiny.omni(tmp_path / "nv", "nv")
    for to in ("trtllm", "trtllm-engine"):
        with pytest.raises(ModelError, match="bidirectional attention; TensorRT-LLM's Qwen2 looks back only"):
            export(nv, tmp_path / "out", to=to, recipe="omni-embed-nemotron")
        with pytest.raises(ModelError, match="a clap has no decoder that TensorRT-LLM runs"):
            export(clap, tmp_path / "out", to=to, recipe="laion-clap")
        with pytest.raises(InputError, match="takes dtype float16 or bfloat16, got 'float32'"):
            export(**omni.args, out=tmp_path / "out", to=to, dtype="float32")
        with pytest.raises(InputError, match="quant must be one of"):
            export(**omni.args, out=tmp_path / "out", to=to, quant="int4")
        with pytest.raises(InputError, match="calibration is for quant fp8"):
            export(**omni.args, out=tmp_path / "out", to=to, calibration=tmp_path)
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        with pytest.raises(InputError, match="holds no sound to calibrate with"):
            export(**omni.args, out=tmp_path / "out", to=to, quant="fp8", calibration=empty)
    for tp in (0, 3, 8):
        with pytest.raises(ModelError, match=f"tp {tp} does not divide the decoder"):
            export(**omni.args, out=tmp_path / "out", to="trtllm-engine", tp=tp)
    assert not list(tmp_path.glob("out*"))


def test_mean_content_is_pooled_by_the_engine_path_alone(mini, tmp_path):
    own = tmp_path / "own.json"
    recipe = harken.load(mini.folder, recipe="harken-mini", device="cpu").recipe.to_dict()
    own.write_text(json.dumps({**recipe, "pooling": "mean-content", "normalize_before_head": True}))
    args = {"model": mini.folder, "adapter": mini.adapter, "recipe": own, "dtype": "float16"}
    with pytest.raises(ModelError, match="pools the content of a prompt"):
        export(**args, to="trtllm", out=tmp_path / "out")
    folder = export(**args, to="trtllm-engine", out=tmp_path / "out")
    tensors, facts = load_file(folder / "golden.safetensors"), manifest.read_manifest(folder)
    head, made = standalone(folder).EmbedHead(folder), Interpreter(folder / "engine_ckpt")
    for item in facts["golden"]["items"]:
        states = made.context_logits(tensors[f"{item['name']}.inputs"])
        got = head.of_kind(head(states, [len(states)], [item["content"]]), item["kind"])[0].numpy()
        assert np.dot(got, tensors[f"{item['name']}.vector"].numpy()) > 0.9999
