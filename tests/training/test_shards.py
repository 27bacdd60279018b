"""Runs on shards: killed, with other threads and parts they have the losses of one whole run; sounds are left out by name."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from harken.errors import InputError
from harken.training.data import sounds as sounds_module
from harken.training.loop import Loop
from harken.training.stages import make_task

from .. import tiny
from .data import shards
from .runs import losses, settings, write_sounds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("model"), text="llama", num_mels=80)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eleven good sounds in a tar and a Parquet file, one that cannot be decoded, one that has a label alone."""
    folder = tmp_path_factory.mktemp("shards")
    shards.write_tar(folder / "a.tar", range(5))
    with tarfile.open(folder / "a.tar", "a") as tar:
        for name, sound, told in (("broken", b"fLaC", {"caption": "Sound 50"}), ("label", None, {"label": "dog"})):
            shards.add(tar, f"{name}.flac", sound or shards.sound_bytes(51))
            shards.add(tar, f"{name}.json", json.dumps(told).encode())
    shards.write_parquet(folder / "b.parquet", range(5, 11), group=2)
    write_sounds(folder / "val", 4, 0)
    return folder


def made(checkpoint, folder, out, **changes):
    sources = [
        dict(dataset="webdataset", path=str(folder / "*.tar")),
        dict(dataset="parquet", path=str(folder / "b.parquet")),
    ]
    given = dict(
        num_whitening=0,
        data=dict(
            train=sources,
            val=[dict(dataset="manifest", path=str(folder / "val"))],
            index=str(folder / "rows"),
            mix=1,
        ),
        batch=dict(max_rows=40, mask_probability=0.5),
        lora=dict(parts=["tower-attention"], rank=4, whole_projector=False),
        run=dict(validate_every=4, max_tokens=200),
    )
    for key, value in changes.items():
        given[key] = {**given[key], **value} if isinstance(value, dict) and key in given else value
    return settings(checkpoint, folder, out, **given)


@pytest.fixture(scope="module")
def whole(checkpoint, data, tmp_path_factory):
    one = made(checkpoint, data, tmp_path_factory.mktemp("whole"))
    loop = Loop(make_task(one), one)
    loop.go()
    return Path(one.out), loop.task.source


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3])
def test_a_run_killed_at_any_step_goes_on_with_the_same_losses(at, checkpoint, data, whole, tmp_path, monkeypatch):
    one = made(checkpoint, data, tmp_path, run=dict(save_every=1))
    task = make_task(one)
    backward = task.backward

    def until(step):
        if step == at:
            raise Killed
        return backward(step)

    monkeypatch.setattr(task, "backward", until)
    with pytest.raises(Killed):
        Loop(task, one).go()
    resumed = Loop(make_task(one), one)
    assert resumed.step == at
    resumed.go()
    assert losses(tmp_path) == losses(whole[0]) and sorted(losses(tmp_path)) == [1, 2, 3, 4]
    ours, theirs = (torch.load(f / "checkpoint.pt", weights_only=True)["trainable"] for f in (tmp_path, whole[0]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_neither_threads_nor_processes_change_a_batch(whole, monkeypatch):
    source = whole[1]
    for step in range(3):
        monkeypatch.setattr(sounds_module, "NUM_THREADS", 4)
        batch = source.draw(step, slice(0, 4))
        monkeypatch.setattr(sounds_module, "NUM_THREADS", 1)
        parts = [source.draw(step, slice(0, 2)), source.draw(step, slice(2, 4))]
        texts = [one.text for part in parts for one in part.right]
        features = [one.features for part in parts for one in part.left]
        assert texts == [one.text for one in batch.right] and len(features) == 4
        for ours, theirs in zip(features, batch.left):
            np.testing.assert_array_equal(ours, theirs.features)
        for part in parts:
            np.testing.assert_array_equal(part.same_BB, batch.same_BB)


def test_what_cannot_be_heard_or_has_no_caption_is_told_and_never_drawn(checkpoint, data, tmp_path, capfd):
    source = make_task(made(checkpoint, data, tmp_path)).source
    told = capfd.readouterr().err
    assert "train: 13 rows, 0 left out" in told
    assert "broken.flac" in told and "train: 1 of 13 rows have no features" in told
    assert "train: 1 of 12 rows have no text (long, short, tags)" in told
    assert sorted(int(row.long[0].split()[1]) for row in source.train) == list(range(11))
    # Another process, or a run that goes on, reads the verdict and not the sounds.
    monkey = pytest.MonkeyPatch()
    monkey.setattr("harken.training.listening.LiveMels._heard", lambda *_: pytest.fail("a sound was read again"))
    make_task(made(checkpoint, data, tmp_path))
    monkey.undo()
    assert "broken.flac" in capfd.readouterr().err


def test_a_frozen_towers_cache_is_filled_from_shards(checkpoint, data, tmp_path):
    one = made(checkpoint, data, tmp_path, lora=dict(parts=["decoder"]), optim=dict(num_steps=2))
    loop = Loop(make_task(one), one)
    loop.go()
    told = json.loads((tmp_path / "features/clips.json").read_text())
    assert len(told["ids"]) == 12 + 4 and "a.tar/broken.flac" not in told["ids"]
    assert len(losses(tmp_path)) == 2 and len(loop.task.source.train) == 11


def test_the_text_stage_reads_texts_from_shards(checkpoint, data, tmp_path):
    one = made(checkpoint, data, tmp_path, stage="text", lora=dict(parts=["decoder"]), optim=dict(num_steps=2))
    loop = Loop(make_task(one), one)
    loop.go()
    drawn = loop.task.source.draw(0, slice(0, 4))
    assert len(losses(tmp_path)) == 2 and len(loop.task.source.train) == 11
    assert all(pair[0].text != pair[1].text for pair in zip(drawn.left, drawn.right))


def test_shards_without_a_usable_row_are_refused(checkpoint, data, tmp_path):
    for name, sound, told, message in (
        ("mute", b"fLaC", {"caption": "Sound 1"}, "not one of 1 rows has features"),
        ("label", shards.sound_bytes(1), {"label": "dog"}, r"not one of 1 rows has a text \(long, short, tags\)"),
    ):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            shards.add(tar, "x.flac", sound)
            shards.add(tar, "x.json", json.dumps(told).encode())
        source = dict(dataset="webdataset", path=str(tmp_path / f"{name}.tar"))
        with pytest.raises(InputError, match=message):
            make_task(made(checkpoint, data, tmp_path / name, data=dict(train=[source])))
