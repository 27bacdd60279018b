"""The built-in reranker: its adapter stands on the embedder's, and brings the weights that its P(Yes) is fused with."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

import harken
from harken.engine.recipes.rerank import get_rerank_recipe
from harken.engine.rerank import load
from harken.engine.rerank.fusion import FusionWeights
from harken.engine.rerank.product import Product
from harken.errors import InputError
from harken.training.lora import LoraSettings
from harken.training.models.backbone import merge_adapter, open_backbone
from harken.training.models.joint_reranker import JointReranker

from ... import tiny

RECIPE = replace(get_rerank_recipe("mini-rerank"), joint_from=2, product=False)


def adapter(folder: Path, base: Path, from_layer: int, merged: Path | None, seed: int) -> Path:
    """A drawn adapter of a checkpoint's layers."""
    backbone = open_backbone(base, dtype=torch.float32)
    if merged is not None:
        merge_adapter(backbone, merged)
    model = JointReranker(backbone, replace(RECIPE, joint_from=from_layer), LoraSettings(rank=4, from_layer=from_layer))
    for parameter in model.trainable().values():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def built_in(tmp_path_factory):
    """A checkpoint and a folder of adapters, in the place of those that are built in."""
    folder = tmp_path_factory.mktemp("built-in")
    base = tiny.qwen2_audio(folder / "base", text="llama", num_mels=80, tied=True)
    adapter(folder / "assets/mini", base, 1, None, 1)
    adapter(folder / "assets/mini-rerank", base, 2, folder / "assets/mini", 2)
    FusionWeights(a2t=0.25, t2a=0.5, fitted_on="val").save(folder / "assets/mini-rerank/fusion.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "build_mini", lambda: base)
        patch.setattr(load, "ASSETS", folder / "assets")
        yield folder


def test_without_arguments_both_adapters_are_merged(built_in, clips):
    assets = built_in / "assets"
    pairs = [(clip, text) for clip in clips[:2] for text in ("a dog barks", "rain")]
    got = harken.load_reranker(recipe=RECIPE, device="cpu")
    same = harken.load_reranker(
        built_in / "base", adapter=[assets / "mini", assets / "mini-rerank"], recipe=RECIPE, device="cpu"
    )
    np.testing.assert_array_equal(got.predict(pairs), same.predict(pairs))
    alone = harken.load_reranker(built_in / "base", adapter=assets / "mini-rerank", recipe=RECIPE, device="cpu")
    assert np.abs(got.predict(pairs) - alone.predict(pairs)).max() > 1e-4
    own = harken.load_reranker(adapter=assets / "mini-rerank", recipe=RECIPE, device="cpu")
    np.testing.assert_array_equal(got.predict(pairs), own.predict(pairs))


def test_weights_beside_an_adapter_come_with_it(built_in, tmp_path):
    assets = built_in / "assets"
    assert harken.load_reranker(recipe=RECIPE, device="cpu").fusion == FusionWeights(0.25, 0.5, fitted_on="val")
    plain = harken.load_reranker(built_in / "base", adapter=assets / "mini", recipe=RECIPE, device="cpu")
    assert plain.fusion is None
    adapter(tmp_path, built_in / "base", 2, None, 3)
    (tmp_path / "fusion.json").write_text("[]")
    with pytest.raises(InputError, match="fusion.json: cannot be read as fusion weights"):
        harken.load_reranker(built_in / "base", adapter=tmp_path, recipe=RECIPE, device="cpu")


def test_what_is_packaged_fits_the_recipe_and_the_bound():
    assets = Path(str(files("harken.engine") / "assets"))
    config = json.loads((assets / "mini-rerank/adapter_config.json").read_text())
    recipe = get_rerank_recipe("mini-rerank")
    layers = "|".join(str(i) for i in range(recipe.joint_from, 30))
    assert f"layers\\.({layers})\\." in config["target_modules"] and config["modules_to_save"] is None
    weights = FusionWeights.load(assets / "mini-rerank/fusion.json")
    assert weights.a2t == weights.t2a > 0 and weights.fitted_on == "val"
    packaged = [path for name in ("mini", "mini-rerank") for path in (assets / name).iterdir()]
    assert sum(path.stat().st_size for path in packaged) <= 25_000_000
    assert (assets / "mini-rerank/README.md").is_file()
    assert recipe.product and Product.load(assets / "mini-rerank", 576, "cpu").gain > 0
