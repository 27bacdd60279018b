"""The product beside the joint layers' answers: P(Yes) by the formula over transformers' rows, and files that do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

import harken
from harken.engine.recipes.rerank import RerankRecipe
from harken.engine.rerank.product import FILE
from harken.errors import ModelError

from .conftest import TEXTS
from .joint import RECIPE, answered
from .use import close

WITH = replace(RECIPE, product=True)
GAIN, SCALE, OFFSET = 0.5, 3.0, -0.7


def tensors(width: int) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=drawn)

    return {
        "spread": draw(5, width).half(),
        "sound.weight": draw(7, 10).half(),
        "sound.bias": draw(7),
        "text.weight": draw(7, 2 * width).half(),
        "text.bias": draw(7),
        "odds": torch.tensor([GAIN, SCALE, OFFSET]),
    }


@pytest.fixture(scope="module")
def width(joint_oracle) -> int:
    return joint_oracle.model.config.text_config.hidden_size


@pytest.fixture
def adapter(tmp_path, width) -> Path:
    """An adapter that changes nothing, with a product."""
    config = LoraConfig(r=1, lora_alpha=1, target_modules=r"layers\.2\.self_attn\.q_proj")
    config.save_pretrained(tmp_path)
    prefix = "base_model.model.model.language_model.layers.2.self_attn.q_proj"
    save_file(
        {f"{prefix}.lora_A.weight": torch.zeros(1, width), f"{prefix}.lora_B.weight": torch.zeros(width, 1)},
        tmp_path / "adapter_model.safetensors",
    )
    save_file(tensors(width), tmp_path / FILE)
    return tmp_path


def wanted(oracle, clip: Path, text: str, t: dict[str, torch.Tensor]) -> float:
    """P(Yes) in float64."""
    pair = answered(oracle, clip, text, WITH.joint_from)
    t = {name: tensor.double() for name, tensor in t.items()}
    spread, rows = pair.tokens.double() @ t["spread"].T, pair.text.double()
    mean, deviation = spread.mean(0), spread.var(0, correction=0).sqrt()
    a = t["sound.weight"] @ torch.cat([mean, deviation]) + t["sound.bias"]
    b = t["text.weight"] @ torch.cat([rows.mean(0), rows[-1]]) + t["text.bias"]
    cosine = (a @ b) / (a.norm() * b.norm())
    odds = GAIN * (pair.logits[0] - pair.logits[1]) + SCALE * cosine + OFFSET
    return float(torch.sigmoid(odds))


@pytest.mark.parametrize("kept_kv_bytes", [0, 1 << 20])
def test_scores_are_those_of_the_formula(kept_kv_bytes, joint_checkpoint, joint_oracle, adapter, clips, width):
    model = harken.load_reranker(
        joint_checkpoint, adapter=adapter, recipe=WITH, device="cpu", kept_kv_bytes=kept_kv_bytes
    )
    pairs = [(clip, text) for clip in clips[:3] for text in TEXTS]
    want = np.array([wanted(joint_oracle, *pair, tensors(width)) for pair in pairs])
    assert close(model.predict(pairs), want) and np.ptp(want) > 0.1
    # Texts and prefixes that are known by now, alone and in another order.
    assert close(model.predict(pairs[::-1]), want[::-1])
    ranked = sorted(model.rank(TEXTS[0], clips[:3]), key=lambda one: one.position)
    assert close([one.score for one in ranked], want[:: len(TEXTS)])
    plain = harken.load_reranker(joint_checkpoint, adapter=adapter, recipe=RECIPE, device="cpu")
    assert not close(plain.predict(pairs), want)


def test_what_is_kept_of_a_sound_counts_its_vector(joint_checkpoint, adapter, clips):
    plain = harken.load_reranker(joint_checkpoint, adapter=adapter, recipe=RECIPE, device="cpu")
    with_product = harken.load_reranker(joint_checkpoint, adapter=adapter, recipe=WITH, device="cpu")
    assert with_product.kv_bytes(1.0) == plain.kv_bytes(1.0) + 7 * 4
    roomy = harken.load_reranker(
        joint_checkpoint, adapter=adapter, recipe=WITH, device="cpu", kept_kv_bytes=with_product.kv_bytes(1.0)
    )
    roomy.predict([(clips[0], "rain")])
    assert roomy._scorer.kept.num_bytes == roomy.kv_bytes(1.0)


def test_files_that_do_not_fit_are_refused(joint_checkpoint, adapter, width):
    def load() -> None:
        harken.load_reranker(joint_checkpoint, adapter=adapter, recipe=WITH, device="cpu")

    good = tensors(width)
    for bad in (
        {name: tensor for name, tensor in good.items() if name != "odds"},
        good | {"text.weight": torch.zeros(7, width)},
        good | {"sound.weight": torch.zeros(7, 9)},
        good | {"spread": torch.zeros(0, width), "sound.weight": torch.zeros(7, 0)},
        good | {"extra": torch.zeros(1)},
    ):
        save_file(bad, adapter / FILE)
        with pytest.raises(ModelError, match=rf"{FILE}: holds .*; wanted .* for a model of width {width}"):
            load()
    (adapter / FILE).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=f"{FILE}: cannot be read"):
        load()
    (adapter / FILE).unlink()
    with pytest.raises(ModelError, match=rf"there is no {FILE}; make it with `python -m harken.training.product"):
        load()
    with pytest.raises(ModelError, match="'own': product is set and joint_from 0"):
        template = "{audio}{text}"
        RerankRecipe("own", "own", ("qwen2_audio",), "", a2t_template=template, t2a_template=template, product=True)
