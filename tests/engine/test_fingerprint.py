"""Fingerprints: the same making has one, any change gives another, and mixing names both."""

import dataclasses

import pytest

from harken.engine import fingerprint as module
from harken.engine.fingerprint import Fingerprint, fingerprint_of, require_same
from harken.engine.recipes import Recipe
from harken.errors import FileFormatError, FingerprintError

RECIPE = Recipe(name="r", source="own", backbones=("x",), audio_template="{audio}", text_template="{text}")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def make(folder, **changes):
    values = dict(adapter=None, recipe=RECIPE, front_end="whisper-80", dtype="float32")
    return fingerprint_of(folder, **{**values, **changes})


def test_the_same_making_is_the_same(folder):
    assert make(folder).id == make(folder).id
    require_same(make(folder), make(folder), "here")


def test_every_change_is_seen_and_named(folder, tmp_path):
    plain = make(folder)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"a")
    changed = {
        "dtype": make(folder, dtype="bfloat16"),
        "front_end": make(folder, front_end="whisper-128"),
        "adapter_sha256": make(folder, adapter=adapter),
        "recipe_sha256": make(folder, recipe=dataclasses.replace(RECIPE, pooling="last")),
    }
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 39 + bytes(256))
    changed["weights_sha256"] = make(folder)
    for field, other in changed.items():
        with pytest.raises(FingerprintError, match=field) as caught:
            require_same(plain, other, "sounds.harken")
        assert plain.id in str(caught.value) and other.id in str(caught.value) and "sounds.harken" in str(caught.value)


def test_large_files_are_sampled_from_head_to_end(folder, monkeypatch):
    monkeypatch.setattr(module, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    plain = make(folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    for place in (0, len(content) - 1):
        other = bytearray(content)
        other[place] ^= 1
        (folder / "model.safetensors").write_bytes(other)
        assert make(folder).weights_sha256 != plain.weights_sha256


def test_it_survives_a_file_and_refuses_another(folder):
    plain = make(folder)
    assert Fingerprint.from_dict(plain.to_dict(), "x") == plain
    with pytest.raises(FileFormatError, match="x.parquet: holds no fingerprint"):
        Fingerprint.from_dict({"model": "m"}, "x.parquet")
