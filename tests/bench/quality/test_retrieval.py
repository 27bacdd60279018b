"""Retrieval both ways, text to text and class labels on vectors small enough to rank by eye."""

import numpy as np
import pytest

from harken.bench.quality.gap import modality_gap, project
from harken.bench.quality.labels import by_labels, classes, label_texts
from harken.bench.quality.retrieval import sound_to_text, text_to_sound, text_to_text
from harken.errors import InputError
from harken.training.data import Row

# Two clips with two captions each, by their angle in a plane, degrees.
AUDIO = {"a": 0, "b": 90}
TEXT = {"a1": 10, "a2": 50, "b1": 80, "b2": 30}
OWNER = np.array([0, 0, 1, 1])


def at(angles) -> np.ndarray:
    radians = np.deg2rad(list(angles.values()))
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def test_every_caption_asks_and_its_own_clip_answers():
    section = text_to_sound(at(TEXT), at(AUDIO), OWNER[:, None] == np.arange(2), ids=list(TEXT))
    assert section.ranks.tolist() == [1, 2, 1, 2]
    assert section.measures["R@1"].value == 0.5 and section.measures["R@1"].chance == pytest.approx(0.5)
    assert section.measures["mAP"].value == section.measures["MRR"].value == 0.75


def test_a_clip_finds_the_nearest_of_its_own_captions():
    section = sound_to_text(at(AUDIO), at(TEXT), (OWNER[:, None] == np.arange(2)).T, ids=list(AUDIO))
    # a: 10 (own), 30, 50 (own), 80.  b: 80 (own), 50, 30 (own), 10.
    assert section.ranks.tolist() == [1, 1]
    assert section.measures["mAP"].value == pytest.approx((1 + 2 / 3) / 2)
    assert section.measures["R@1"].chance == pytest.approx(0.5)


def test_a_caption_does_not_find_itself():
    section = text_to_text(at(TEXT), OWNER, ids=list(TEXT))
    # Nearest others: a1 -> 30, 50; a2 -> 30, 80 before 10; b1 -> 50, 30; b2 -> 10 and 50 at one distance, then 80.
    assert section.ranks.tolist() == [2, 3, 2, 3]
    assert section.num_candidates == 3 and section.measures["R@1"].chance == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="c has one"):
        text_to_text(at({**TEXT, "c": 5}), np.append(OWNER, 2), ids=[*TEXT, "c"])


def test_intervals_draw_clips_and_not_captions():
    """All captions of a clip agree here, so five times as many captions make the interval no narrower."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(40, 8)).astype(np.float32)
    found = rng.random(40) < 0.5
    text = np.where(found[:, None], audio, -audio)
    width = {}
    for copies in (1, 5):
        owner = np.repeat(np.arange(40), copies)
        section = text_to_sound(
            text[owner], audio, owner[:, None] == np.arange(40), ids=[str(i) for i in owner], clusters_T=owner
        )
        width[copies] = section.measures["R@1"].high - section.measures["R@1"].low
    assert width[1] == pytest.approx(width[5], abs=0.05)


def row(name: str, *labels: str) -> Row:
    return Row(name, None, labels=labels)


def test_several_labels_of_a_sound_each_count():
    rows = [row("one", "rain", "wind"), row("two", "dog")]
    names = classes(rows)
    assert names == ["dog", "rain", "wind"]
    # one: rain, dog, wind.  two: rain, dog, wind.
    audio = np.array([[0.5, 0.9, 0.1], [0.5, 0.8, 0.2]], np.float32)
    to_label, to_sound = by_labels(audio, np.eye(3, dtype=np.float32), rows, names)
    assert to_label.per_query["mAP"] == pytest.approx([(1 + 2 / 3) / 2, 1 / 2])
    assert to_label.measures["R@1"].value == 0.5 and to_label.confusions == {("dog", "rain"): 1}
    # dog: the second sound is relatively nearer; rain: the first; wind: the second.
    assert to_sound.per_query["mAP"] == pytest.approx([1, 1, 1 / 2])


def test_rows_without_labels_and_templates_without_a_place_are_refused():
    with pytest.raises(InputError, match="b has no label"):
        classes([row("a", "x"), row("b")])
    with pytest.raises(InputError, match="holds {label}"):
        label_texts(["x"], "a sound")


def test_the_gap_is_the_distance_of_two_sets_that_lie_apart():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(300, 16))
    near = modality_gap(base, base + rng.normal(0, 0.01, base.shape)).measures
    apart = modality_gap(base + 3 * np.eye(16)[0], base - 3 * np.eye(16)[0]).measures
    assert near["MMD"].value < 0.05 < 0.3 < apart["MMD"].value
    assert near["centre distance"].value < 0.01 and near["cosine of pairs"].value > 0.99
    plane = project(base + 3 * np.eye(16)[0], base - 3 * np.eye(16)[0])
    # The first principal component is the gap.
    assert (
        plane.audio_N2[:, 0].min() > plane.text_N2[:, 0].max() or plane.audio_N2[:, 0].max() < plane.text_N2[:, 0].min()
    )
