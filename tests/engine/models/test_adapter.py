"""Adapters: merged at load they give what peft gives; anything unplaceable is an error."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harken.engine.models.adapter import Adapter
from harken.engine.models.load import load_model
from harken.engine.text.template import Template
from harken.engine.text.tokenizer import Tokenizer
from harken.errors import ModelError

from ... import tiny, tolerances

TEXT = "<|im_start|>user\n{text}<|im_end|>\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80, tied=True)


@pytest.fixture(scope="module")
def trained(checkpoint, tmp_path_factory):
    """A peft model with random LoRA on every linear of the decoder and a replaced projector, and the folder it was saved in."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2AudioForConditionalGeneration

    model = Qwen2AudioForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        use_rslora=True,
        target_modules=r".*language_model.*(q|k|v|o|gate|up|down)_proj",
        alpha_pattern={"q_proj": 20},
        modules_to_save=["multi_modal_projector"],
    )
    peft_model = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in peft_model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                p.copy_(0.05 * torch.randn(p.shape, generator=generator))
    folder = tmp_path_factory.mktemp("adapter")
    peft_model.save_pretrained(folder)
    return peft_model, folder


def last_states(model, tokenizer, text):
    with torch.inference_mode():
        hidden, _ = model.hidden([Template(tokenizer, TEXT).text(text)], None, causal=True)
        return model.decoder.norm(hidden)


def test_merged_equals_peft(checkpoint, trained):
    peft_model, folder = trained
    merged = load_model(checkpoint, adapter=folder, dtype=torch.float32, device="cpu")
    tokenizer = Tokenizer(checkpoint)
    ids = torch.tensor([tokenizer.encode(TEXT.format(text="a dog barks")).ids])
    with torch.no_grad():
        want = peft_model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[-1][0]
    got = last_states(merged, tokenizer, "a dog barks")
    assert (got - want).abs().max() < tolerances.HIDDEN_FP32
    projector = peft_model.base_model.model.model.multi_modal_projector.linear
    assert torch.equal(merged.projector.weight, projector.weight)
    plain = load_model(checkpoint, dtype=torch.float32, device="cpu")
    assert (last_states(plain, tokenizer, "a dog barks") - got).abs().max() > 0.01


@pytest.mark.parametrize(
    "prefix",
    [
        "base_model.model.model.language_model.",
        "base_model.model.language_model.model.",
        "base_model.model.thinker.model.",
        "base_model.model.",
    ],
)
def test_every_layout_of_names_finds_its_place(checkpoint, trained, tmp_path, prefix):
    _, folder = trained
    tensors = {k: v for k, v in load_file(folder / "adapter_model.safetensors").items() if "language_model" in k}
    renamed = {k.replace("base_model.model.model.language_model.", prefix): v for k, v in tensors.items()}
    save_file(renamed, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    a = load_model(checkpoint, adapter=folder, dtype=torch.float32, device="cpu")
    b = load_model(checkpoint, adapter=tmp_path, dtype=torch.float32, device="cpu")
    assert torch.equal(a.decoder.layers[1].qkv.weight, b.decoder.layers[1].qkv.weight)
    assert torch.equal(a.decoder.layers[2].down.weight, b.decoder.layers[2].down.weight)


def broken(trained, tmp_path, change_config=None, change_tensors=None):
    _, folder = trained
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    if change_config:
        change_config(config)
    if change_tensors:
        change_tensors(tensors)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(use_dora=True), "use_dora"),
        (dict(bias="all"), "bias is 'all'"),
        (dict(peft_type="IA3"), "peft_type is IA3"),
        (dict(lora_bias=True), "lora_bias"),
    ],
)
def test_kinds_that_cannot_be_merged_are_refused_by_name(trained, tmp_path, change, said):
    with pytest.raises(ModelError, match=said):
        Adapter(broken(trained, tmp_path, change_config=lambda c: c.update(change)))


def test_a_tensor_without_a_place_is_named(checkpoint, trained, tmp_path):
    def add(tensors):
        tensors["base_model.model.model.language_model.layers.9.mlp.up_proj.lora_A.weight"] = torch.ones(4, 48)
        tensors["base_model.model.model.language_model.layers.9.mlp.up_proj.lora_B.weight"] = torch.ones(128, 4)

    folder = broken(trained, tmp_path, change_tensors=add)
    with pytest.raises(ModelError, match=r"layers\.9\.mlp\.up_proj"):
        load_model(checkpoint, adapter=folder, dtype=torch.float32, device="cpu")


def test_half_a_pair_is_named(trained, tmp_path):
    def remove(tensors):
        del tensors[next(k for k in tensors if "lora_B" in k)]

    with pytest.raises(ModelError, match="partner"):
        Adapter(broken(trained, tmp_path, change_tensors=remove))


def test_a_wrong_shape_is_named(checkpoint, trained, tmp_path):
    def widen(tensors):
        key = next(k for k in tensors if "lora_A" in k and "q_proj" in k)
        tensors[key] = torch.ones(4, 50)

    with pytest.raises(ModelError, match=r"q_proj wants a weight of shape \(48, 50\)"):
        load_model(
            checkpoint, adapter=broken(trained, tmp_path, change_tensors=widen), dtype=torch.float32, device="cpu"
        )


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="adapter_config.json"):
        Adapter(tmp_path)
