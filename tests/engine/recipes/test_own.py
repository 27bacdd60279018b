"""A recipe from a user's JSON file works wherever a name does."""

import json

import pytest
from typer.testing import CliRunner

import harken
from harken.engine.cli import application
from harken.engine.recipes import get_recipe, recipe_reference, recipes
from harken.engine.vectors import made_with
from harken.errors import ModelError

from ... import tiny


@pytest.fixture
def folder(tmp_path):
    folder = tiny.qwen2_audio(tmp_path / "model", text="llama", num_mels=80)
    fields = {**get_recipe("qwen2-audio").to_dict(), "name": "mine", "pooling": "last", "max_audio_s": 1.0}
    (folder / "mine.json").write_text(json.dumps(fields))
    return folder


def test_a_reference_makes_the_same_recipe():
    for recipe in recipes().values():
        assert recipe_reference(recipe) == recipe.name
        changed = harken.Recipe.from_dict({**recipe.to_dict(), "max_text_tokens": 7})
        assert get_recipe(json.loads(json.dumps(recipe_reference(changed)))) == changed


def test_harken_json_can_name_a_file_beside_it(folder, monkeypatch, tmp_path):
    (folder / "harken.json").write_text(json.dumps({"recipe": "mine.json", "overrides": {"max_audio_s": 2.0}}))
    monkeypatch.chdir(tmp_path)
    model = harken.load(folder, device="cpu")
    assert (model.recipe.name, model.recipe.pooling, model.recipe.max_audio_s) == ("mine", "last", 2.0)
    again = harken.load(folder, recipe=made_with(model)["recipe"], device="cpu")
    assert again.fingerprint.id == model.fingerprint.id


def test_vectors_made_by_it_are_searched_by_it(folder, tmp_path):
    import soundfile

    for i in range(2):
        soundfile.write(tmp_path / f"{i}.wav", tiny.wave(8000, seed=i), 16000)
    run = lambda *words: CliRunner().invoke(application(), [str(word) for word in words])
    sounds = [tmp_path / f"{i}.wav" for i in range(2)]
    made = run("embed", *sounds, "-o", tmp_path / "v.parquet", "--model", folder, "--recipe", folder / "mine.json")
    assert made.exit_code == 0, made.output
    assert run("index", "build", tmp_path / "v.parquet", "-o", tmp_path / "i.harken").exit_code == 0
    # The file may be gone by then.
    (folder / "mine.json").unlink()
    found = run("search", tmp_path / "i.harken", "--audio", tmp_path / "1.wav", "-k", "1", "--json")
    assert found.exit_code == 0 and "1.wav" in found.stdout, found.output


def test_a_wrong_field_is_named(folder):
    with pytest.raises(ModelError, match=r"unknown fields \['poling'\]"):
        harken.load(folder, recipe={"name": "mine", "poling": "last"})
