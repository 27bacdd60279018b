"""A pickle becomes safetensors that hold the same; what is no tensor, and what runs code, is refused by name."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import harken
from harken.engine.cli import application
from harken.engine.convert.from_pickle import convert_pickle
from harken.errors import ModelError

from ... import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint as pickles in two shards, with what stands beside it."""
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    for shard in (0, 1):
        torch.save({name: tensors[name] for name in names[shard::2]}, folder / f"pytorch_model-{shard}.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {}}))
    return folder


def test_a_converted_checkpoint_loads_and_hears_the_same(folder, tmp_path):
    sources = [str(folder / f"pytorch_model-{shard}.bin") for shard in (0, 1)]
    out = tmp_path / "out"
    result = CliRunner().invoke(application(), ["convert", "pickle", *sources, str(out)])
    assert result.exit_code == 0 and result.stdout.strip() == str(out)
    want, got = load_file(folder / "model.safetensors"), load_file(out / "model.safetensors")
    assert want.keys() == got.keys() and all(torch.equal(want[name], got[name]) for name in want)
    assert not list(out.glob("*.bin*"))
    clip = [(tiny.wave(8000), 16000)]
    a, b = (harken.load(f, recipe="qwen2-audio", device="cpu").encode_audio(clip) for f in (folder, out))
    assert (a == b).all()


def test_halves_and_tied_tensors_keep_their_bits(tmp_path):
    table = torch.randn(6, 4)
    held = {"a": table, "b": table, "c": table.half().T, "d": table.bfloat16(), "e": torch.tensor(3)}
    torch.save({"state_dict": held}, tmp_path / "m.pt")
    got = load_file(convert_pickle([tmp_path / "m.pt"], tmp_path / "out") / "model.safetensors")
    assert all(got[name].dtype == held[name].dtype and torch.equal(got[name], held[name]) for name in held)


class Runs:
    def __reduce__(self):
        return (open, ("/nowhere", "w"))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"w": torch.zeros(2), "epoch": 3, "optimizer": {"lr": 0.1}}, r"got epoch \(int\), optimizer \(dict\)"),
        ({}, "holds an empty dict, wanted tensors by name"),
        ([torch.zeros(1)], "holds list, wanted tensors"),
        ({"w": torch.zeros(2).to_sparse()}, "w is torch.float32 in torch.sparse_coo"),
        ({"w": Runs()}, "cannot be read as a checkpoint of tensors"),
    ],
    ids=["settings", "nothing", "list", "sparse", "code"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, held, said):
    torch.save(held, tmp_path / "m.bin")
    with pytest.raises(ModelError, match=said):
        convert_pickle([tmp_path / "m.bin"], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin"]


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "text.bin").write_text("no pickle")
    with pytest.raises(ModelError, match="text.bin: cannot be read"):
        convert_pickle([tmp_path / "text.bin"], tmp_path / "out")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(ModelError, match="plain.bin"):
        convert_pickle([tmp_path / "plain.bin"], tmp_path / "out")
    torch.save({"w": torch.zeros(2)}, tmp_path / "m.bin")
    with pytest.raises(ModelError, match="w was in an earlier file"):
        convert_pickle([tmp_path / "m.bin", tmp_path / "m.bin"], tmp_path / "out")
    with pytest.raises(ModelError, match="is there already"):
        convert_pickle([tmp_path / "m.bin"], tmp_path)
    assert CliRunner().invoke(application(), ["convert", "pickle", "one.bin"]).exit_code == 2
