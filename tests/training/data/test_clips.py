"""A manifest gives its usable clips and a list of the rest; batches follow from seed and step alone."""

import json

import numpy as np
import pytest

from harken.errors import AudioError, FileFormatError, InputError
from harken.training.batches import BatchPlan, augment, draw_captions, draw_clips, fitting
from harken.training.data import Clip, load_manifest
from harken.training.features import FeatureCache, write_cache


def row(folder, number: int, **changes) -> str:
    (folder / f"{number}.wav").touch()
    values = dict(id=str(number), path=f"{number}.wav", caption=f"sound {number}", split="train", tags=["a", "b"])
    return json.dumps({**values, **changes})


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
    lines = [row(tmp_path, i, captions=[f"sound {i}", f"noise {i}"]) for i in range(10)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    return load_manifest(tmp_path).clips


def test_unusable_lines_are_counted_and_named(tmp_path):
    lines = [
        row(tmp_path, 1), "{not json", row(tmp_path, 2, caption=" "), row(tmp_path, 3, path="gone.wav"),
        row(tmp_path, 4, split="dev"), row(tmp_path, 5, id="1"), "[]", "", row(tmp_path, 6, split="test"),
    ]  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    dataset = load_manifest(tmp_path)
    assert [clip.id for clip in dataset.clips] == ["1", "6"]
    assert [problem.split(":")[1] for problem in dataset.problems] == ["2", "3", "4", "5", "6", "7"]
    assert "gone.wav" in dataset.problems[2] and "'dev'" in dataset.problems[3] and "twice" in dataset.problems[4]
    assert [clip.id for clip in dataset.split("test")] == ["6"]


def test_a_manifest_of_nothing_usable_is_refused(tmp_path):
    (tmp_path / "manifest.jsonl").write_text("{}")
    with pytest.raises(InputError, match="not one of 1 lines"):
        load_manifest(tmp_path)


def test_an_epoch_takes_every_clip_once_and_the_next_another_order(clips):
    epochs = [[c.id for step in (2 * e, 2 * e + 1) for c in draw_clips(clips, step, 0, 5)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == [str(i) for i in range(10)] and epochs[0] != epochs[1]


def test_captions_are_drawn_anew_each_step(clips):
    drawn = {tuple(draw_captions(clips, np.random.default_rng([0, step]), 0.2)) for step in range(5)}
    assert len(drawn) == 5 and any("a, b" in texts for texts in drawn)
    assert all(text in (*clip.captions, "a, b") for texts in drawn for clip, text in zip(clips, texts))


def test_texts_that_fit_another_clip_are_marked_both_ways(tmp_path, clips):
    said = [Clip(str(i), tmp_path, c[0], c, (), "", "train") for i, c in enumerate([("x", "y"), ("y", "z"), ("w",)])]
    fits = fitting(said, ["y", "z", "w"])
    assert fits.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_crops_are_pieces_of_the_clip_and_the_cache_is_left_alone():
    features = np.arange(1, 101, dtype=np.float16)[:, None].repeat(2, 1)
    plan = BatchPlan(max_tokens=30, mask_probability=1.0)
    kept = features.copy()
    crop = augment(features, np.random.default_rng(0), plan)
    blank = crop[:, 0] == 0
    assert len(crop) == 30 and 1 <= blank.sum() <= 6
    np.testing.assert_array_equal(features, kept)
    seen = np.flatnonzero(~blank)
    assert np.ptp(crop[seen, 0].astype(int) - seen) == 0


def test_a_cache_gives_back_the_rows_and_lists_what_failed(tmp_path, clips):
    def encode(some):
        for clip in some:
            yield "not a sound" if clip.id == "3" else np.full((int(clip.id) + 1, 4), int(clip.id), np.float32)

    assert write_cache(tmp_path / "cache", clips, encode, "test") == ["3 (3.wav): not a sound"]
    cache = FeatureCache(tmp_path / "cache")
    assert "3" not in cache and cache["7"].shape == (8, 4) and (cache["7"] == 7).all() and (cache["0"] == 0).all()


def test_a_cache_without_a_single_clip_or_file_is_an_error(tmp_path, clips):
    with pytest.raises(AudioError, match="not one of 10 clips"):
        write_cache(tmp_path / "cache", clips, lambda some: iter(["bad"] * len(some)), "test")
    with pytest.raises(FileFormatError, match="cannot be read as a cache"):
        FeatureCache(tmp_path / "cache")
