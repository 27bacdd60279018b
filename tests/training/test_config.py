"""Every committed file of settings can be read and says what the papers say; wrong values are named by their place."""

import json
from pathlib import Path

import pytest

import harken
from harken.engine.recipes import get_recipe
from harken.engine.recipes.rerank import get_rerank_recipe
from harken.errors import InputError
from harken.training.ablation import merge, read_ablation
from harken.training.config import load_settings, settings_from
from harken.training.data import DATASETS

CONFIGS = sorted((Path(harken.__file__).parent / "training/configs").glob("*.json"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_committed_settings_can_be_used(path):
    settings = load_settings(path)
    (get_rerank_recipe if settings.stage in ("rerank", "joint-rerank") else get_recipe)(settings.recipe)
    for source in (*settings.data.train, *settings.data.val):
        assert source.dataset == "manifest" or source.dataset in DATASETS
    assert settings_from(settings.to_dict()) == settings


def test_committed_ablations_change_what_there_is():
    tables = sorted((CONFIGS[0].parent / "ablation").glob("*.json"))
    assert tables
    for path in tables:
        table = read_ablation(path)
        base = settings_from(table.settings)
        for name, changes in table.rows.items():
            changed = settings_from(merge(table.settings, changes), name)
            assert changed == base if not changes else changed != base


def test_the_published_numbers_are_in_them():
    read = {path.stem: load_settings(path) for path in CONFIGS}
    ranks = {name: (s.lora.rank, s.lora.alpha) for name, s in read.items()}
    assert ranks["oea-qwen3b"] == (16, 32) and ranks["aurola-1-text"] == (64, 128)
    assert ranks["aurola-2-audio-text"] == ranks["aurola-3-rerank"] == (128, 256)
    assert ranks["alm2vec-pretrain"] == (16, 32)
    assert read["oea-qwen3b"].loss.tau == 0.07 and read["aurola-2-audio-text"].loss.tau == 0.05
    assert read["alm2vec-pretrain"].optim.warmup_steps == 500 and read["robust-atr"].loss.weights == (0.3, 0.3, 0.4)


def test_toml_and_changes(tmp_path):
    (tmp_path / "a.toml").write_text(
        'stage = "text"\nmodel = "m"\nout = "o"\n[loss]\ntau = 0.1\n[batch.kinds]\nlong = 1\n'
    )
    settings = load_settings(tmp_path / "a.toml", out="elsewhere")
    assert settings.loss.tau == 0.1 and settings.out == "elsewhere" and settings.batch.kinds == {"long": 1}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (dict(loss="x"), "loss: wanted an object, got 'x'"),
        (dict(data=dict(train="x")), "data: train: wanted a list"),
        (dict(data=dict(train=[dict(dataset="clotho")])), r"train\[0\]: path missing"),
        (dict(run=dict(autocast=1)), "autocast is 1, wanted bool"),
        (dict(run=dict(dtype="float8")), "dtype is 'float8', wanted one of"),
        (dict(lora=dict(parts="decoder")), "parts: wanted a list"),
        (dict(lora=dict(rank=0)), "rank is 0"),
        (dict(loss=dict(name="hinge")), "'hinge'"),
    ],
)
def test_wrong_values_are_named_by_their_place(values, match, tmp_path):
    file = tmp_path / "s.json"
    file.write_text(json.dumps(dict(stage="text", model="m", out="o", **values)))
    with pytest.raises(InputError, match=match):
        load_settings(file)


def test_a_file_that_is_no_settings_is_named(tmp_path):
    (tmp_path / "s.json").write_text("[1]")
    with pytest.raises(InputError, match="s.json: wanted an object"):
        load_settings(tmp_path / "s.json")
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(tmp_path / "none.json")
