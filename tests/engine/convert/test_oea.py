"""Omni-Embed-Audio's whole-model pickle becomes an adapter and heads that give what transformers and peft give."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import harken
from harken.engine.cli import main
from harken.engine.convert.oea import convert_oea
from harken.errors import ModelError

from ... import tiny, tolerances
from ..hf import OmniOracle

AUDIO = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n"
)
OLD_NAMES = [("model.language_model.", "model."), ("model.audio_tower.", "audio_tower."), ("model.visual.", "visual.")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.omni(tmp_path_factory.mktemp("base"), "full")


@pytest.fixture(scope="module")
def trained(base):
    """transformers with peft's adapter in it, and what the release's training would save of it."""
    from peft import LoraConfig, get_peft_model

    oracle = OmniOracle(base)
    config = LoraConfig(
        r=16,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "qkv", "out_proj"],
    )
    peft_model = get_peft_model(oracle.model, config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in peft_model.named_parameters():
            if "lora_" in name:
                p.copy_(0.05 * torch.randn(p.shape, generator=generator))
    draw = lambda *shape: torch.randn(shape, generator=generator)
    heads = {
        head: {"linear.weight": draw(32, 48) / 7, "norm.weight": 1 + 0.1 * draw(32), "norm.bias": 0.1 * draw(32)}
        for head in ("audio_head", "text_head")
    }
    state = {name: tensor.clone() for name, tensor in peft_model.state_dict().items() if "visual" not in name}
    checkpoint = {
        "lora_state_dict": state,
        **heads,
        "config": {"data": pathlib.PosixPath("/data/audiocaps"), "lora_r": 16},
        "metrics": {"val_loss": 0.5},
        "global_step": 350,
    }
    return oracle, checkpoint


def save(checkpoint, path):
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("names", ["old", "new"])
def test_converted_equals_transformers_with_peft(base, trained, tmp_path, names):
    oracle, checkpoint = trained
    state = dict(checkpoint["lora_state_dict"])
    if names == "old":
        for new, old in OLD_NAMES:
            state = {k.replace(f"base_model.model.{new}", f"base_model.model.{old}"): v for k, v in state.items()}
    source = save({**checkpoint, "lora_state_dict": state}, tmp_path / "step_350.pt")
    out = convert_oea(source, tmp_path / "out")
    assert sorted(p.name for p in out.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "heads.safetensors",
    ]
    model = harken.load(base, recipe="oea-qwen3b", adapter=out, device="cpu")
    clip = tiny.wave(33333)
    hidden = oracle.hidden(AUDIO, [clip], max_samples=2_048_000)
    head = checkpoint["audio_head"]
    pooled = F.normalize(hidden.mean(0), dim=0)
    want = F.layer_norm(head["linear.weight"] @ pooled, (32,), head["norm.weight"], head["norm.bias"])
    got = model.encode_audio([(clip, 16000)])[0]
    assert np.abs(got - F.normalize(want, dim=0).numpy()).max() < tolerances.VECTOR_FP32


def test_only_the_adapter_and_the_heads_are_kept(trained, tmp_path):
    _, checkpoint = trained
    out = convert_oea(save(checkpoint, tmp_path / "step_350.pt"), tmp_path / "out")
    adapter = load_file(out / "adapter_model.safetensors")
    # Decoder: 3 layers of q, k, v, o; tower: 2 layers of q, k, v, out; two sides each.
    assert len(adapter) == 2 * (3 * 4 + 2 * 4)
    assert "base_model.model.model.layers.2.self_attn.o_proj.lora_A.weight" in adapter
    assert "base_model.model.audio_tower.layers.1.self_attn.out_proj.lora_B.weight" in adapter
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (16, 32, "LORA")
    assert config["target_modules"] == ["k_proj", "o_proj", "out_proj", "q_proj", "v_proj"]


def test_paths_of_newer_pythons_are_read_too(trained, tmp_path, monkeypatch):
    """Python 3.13 names the class of its paths pathlib._local.PosixPath."""

    class PosixPath:
        def __reduce__(self):
            return PosixPath, ("/", "data")

    PosixPath.__module__, PosixPath.__qualname__ = "pathlib._local", "PosixPath"
    module = types.ModuleType("pathlib._local")
    module.PosixPath = PosixPath
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pathlib._local", module)
        source = save({**trained[1], "config": {"data": PosixPath()}}, tmp_path / "step.pt")
    assert convert_oea(source, tmp_path / "out").is_dir()


class Planted:
    """Unpickling this would run a function."""

    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_would_run_code_is_refused(trained, tmp_path, capsys):
    _, checkpoint = trained
    source = save({**checkpoint, "config": Planted()}, tmp_path / "planted.pt")
    with pytest.raises(ModelError, match=r"planted\.pt: cannot be read as a checkpoint of tensors"):
        convert_oea(source, tmp_path / "out")
    assert capsys.readouterr().out == "" and not (tmp_path / "out").exists()


def without(checkpoint, key):
    return {k: v for k, v in checkpoint.items() if k != key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: without(c, "text_head"), r"no Omni-Embed-Audio checkpoint.*'text_head'\], got \['audio_head'"),
        (lambda c: [1, 2], "no Omni-Embed-Audio checkpoint.*got list"),
        (lambda c: {**c, "lora_state_dict": {"model.norm.weight": torch.ones(2)}}, "holds no tensor with lora_"),
        (
            lambda c: {**c, "lora_state_dict": {"base_model.model.visual.q.lora_A.default.weight": torch.ones(2, 2)}},
            "visual.q.lora_A.default.weight is no LoRA of",
        ),
        (lambda c: {**c, "audio_head": {"linear.weight": torch.ones(2, 2)}}, r"audio_head holds \['linear.weight'\]"),
    ],
    ids=["no head", "no dictionary", "no adapter", "vision", "half a head"],
)
def test_a_wrong_file_is_named(trained, tmp_path, change, said):
    source = save(change(trained[1]), tmp_path / "wrong.pt")
    with pytest.raises(ModelError, match=f"wrong.pt: .*{said}"):
        convert_oea(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_ranks_are_refused(trained, tmp_path):
    _, checkpoint = trained
    state = dict(checkpoint["lora_state_dict"])
    key = next(k for k in state if "lora_A" in k)
    state[key] = state[key][:4]
    with pytest.raises(ModelError, match=r"ranks \[4, 16\]"):
        convert_oea(save({**checkpoint, "lora_state_dict": state}, tmp_path / "x.pt"), tmp_path / "out")


def test_no_checkpoint_and_no_file_are_named(tmp_path):
    (tmp_path / "notes.pt").write_text("these are notes")
    with pytest.raises(ModelError, match=r"notes\.pt: cannot be read as a checkpoint"):
        convert_oea(tmp_path / "notes.pt", tmp_path / "out")
    with pytest.raises(ModelError, match=r"missing\.pt: cannot be read"):
        convert_oea(tmp_path / "missing.pt", tmp_path / "out")


def test_a_folder_that_is_there_is_not_touched(trained, tmp_path):
    source = save(trained[1], tmp_path / "step.pt")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match="out: is there already"):
        convert_oea(source, tmp_path / "out")


def test_the_command_prints_the_folder(trained, tmp_path):
    source = save(trained[1], tmp_path / "step.pt")
    with pytest.raises(SystemExit) as ended:
        main(["convert", "oea", str(source), str(tmp_path / "out")])
    assert ended.value.code == 0 and (tmp_path / "out" / "heads.safetensors").is_file()
    with pytest.raises(SystemExit) as ended:
        main(["convert", "oea", str(source), str(tmp_path / "out")])
    assert ended.value.code == 2
