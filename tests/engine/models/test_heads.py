"""Heads with a norm and without, through the pooling that every recipe uses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import harken
from harken.engine.models.heads import load_heads
from harken.engine.recipes import Recipe, get_recipe
from harken.errors import ModelError

from ... import tiny, tiny_midasheng, tolerances

ASK = "Is it raining?"


def test_a_plain_projection_follows_the_pooled_state(tmp_path):
    folder = tiny_midasheng.midasheng(tmp_path / "model")
    plain = harken.load(folder, recipe="alm2vec")
    states = plain.encode_text(["a dog", "rain"], instruction=ASK)
    weight, bias = torch.randn(10, 48, generator=torch.Generator().manual_seed(2)), torch.linspace(-1, 1, 10)
    for tensors in ({}, {"projection.linear.bias": bias}):
        save_file({"projection.linear.weight": weight, **tensors}, folder / "heads.safetensors")
        chosen = {"audio_head": "projection", "text_head": "projection", "normalize_before_head": True}
        recipe = Recipe.from_dict({**get_recipe("alm2vec").to_dict(), **chosen})
        model = harken.load(folder, recipe=recipe)
        want = F.linear(torch.from_numpy(states), weight, bias if tensors else None)
        got = model.encode_text(["a dog", "rain"], instruction=ASK)
        assert np.abs(got - F.normalize(want, dim=-1).numpy()).max() < tolerances.BATCH_INVARIANCE
        assert model.encode_audio([(tiny.wave(9000), 16000)]).shape == (1, model.dim) == (1, 10)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"h.norm.weight": (4,)}, "h.linear.weight.*missing"),
        ({"h.linear.weight": (4, 8), "h.norm.weight": (4,)}, "h.norm.bias.*missing"),
        ({"h.linear.weight": (4, 9)}, r"wanted \(d, 8\)"),
        ({"h.linear.weight": (4, 8), "h.linear.bias": (3,)}, r"\(3,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, tensors, said):
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "heads.safetensors")
    with pytest.raises(ModelError, match=said):
        load_heads([tmp_path], ["h"], 8, "cpu")
