"""User-intent queries: hard negatives are rebuilt from captions as released files need it, and the five kinds are scored."""

import json

import numpy as np
import pytest

from harken.bench.quality.published import PUBLISHED
from harken.bench.quality.uiq import Clip, Queries, Query, read_queries, score_queries
from harken.errors import InputError

from . import published_files
from .world import write_lines

CLIPS = [
    Clip("Santa Motor.wav", ("An engine runs.", "A motor hums", "a motor hums", "It  stops.")),
    Clip("b.wav", ("Rain falls", "It rains")),
    Clip("c.wav", ("Rain falls", "Drops patter", "A roof in rain", "None", "Outside")),
    Clip("d.wav", ("A dog", "Barking", "A hound")),
]


def negative_of(folder, captions: list[str], **extra) -> int | None:
    published_files.queries(folder, [clip.id for clip in CLIPS], [list(clip.captions) for clip in CLIPS])
    row = {"audio_id": "d", "negative_query": "x", "negative_captions": captions, **extra}
    write_lines(folder / "test_negative_queries.jsonl", [row])
    found = read_queries(folder, CLIPS).by_kind["negative"][0]
    assert found.target == 3
    return found.negative


@pytest.mark.parametrize(
    "captions, expected",
    [
        (["An engine runs.", "A motor hums", "a motor hums", "It  stops."], 0),
        (["an engine runs.", "A MOTOR  hums", "It stops."], 0),
        (["Drops patter", "Rain falls", "None"], 2),
        (["It rains", "Something else"], 1),
    ],
    ids=["exact", "folded and without repetitions", "part of a longer record", "most in common"],
)
def test_the_hard_negative_is_the_clip_with_these_captions(tmp_path, captions, expected):
    assert negative_of(tmp_path, captions) == expected


def test_our_own_files_name_it(tmp_path):
    assert negative_of(tmp_path, ["Rain falls"], negative_audio_id="b") == 1


@pytest.mark.parametrize("captions", [["Rain falls"], ["A plane"], ["A dog", "Barking", "A hound"]])
def test_captions_that_fit_two_clips_none_or_the_target_are_refused(tmp_path, captions):
    with pytest.raises(InputError, match="test_negative_queries.jsonl:1: negative_captions: they fits? none of the 4"):
        negative_of(tmp_path, captions)


def test_ids_with_and_without_ending_or_folder_mean_one_clip(tmp_path):
    published_files.queries(tmp_path, ["Santa Motor", "x/b.wav", "c.wav", "d.flac"], [list(c.captions) for c in CLIPS])
    found = read_queries(tmp_path, CLIPS)
    assert [query.target for query in found.by_kind["question"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"generated_query": ""}, "question_queries.jsonl:2: generated_query: is empty"),
        ({"audio_id": None}, "question_queries.jsonl:2: audio_id: is missing"),
        ({"audio_id": "zebra"}, "question_queries.jsonl:2: audio_id: 'zebra' fits none of the 4 clips"),
        ({"audio_id": "Santa Motor.wav", "generated_query": "question 0"}, "generated_query: the same query"),
    ],
)
def test_wrong_rows_are_named(tmp_path, change, words):
    published_files.queries(tmp_path, [clip.id for clip in CLIPS], [list(clip.captions) for clip in CLIPS])
    path = tmp_path / "test_question_queries.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1] |= change
    write_lines(path, rows)
    with pytest.raises(InputError, match=words):
        read_queries(tmp_path, CLIPS)


def test_queries_of_absent_clips_are_counted_when_allowed(tmp_path):
    published_files.queries(tmp_path, [clip.id for clip in CLIPS], [list(clip.captions) for clip in CLIPS])
    found = read_queries(tmp_path, CLIPS[:3], allow_missing=True)
    # d's own five, and the negative query of c, whose hard negative d is.
    assert found.num_without_clip == 6 and len(found.by_kind["question"]) == 3


def test_scores_by_hand():
    """Three clips on the axes; each query is a score vector."""
    audio = np.eye(3, dtype=np.float32)
    easy = [Query("a", 0), Query("b", 1)]
    hard = [Query("not b", 0, 1), Query("not c", 0, 2)]
    kinds = ("question", "imperative", "paraphrase", "tagging")
    queries = Queries({kind: easy for kind in kinds} | {"negative": hard})
    good = np.array([[0.9, 0.3, 0.1], [0.2, 0.9, 0.1]], np.float32)
    vectors = {kind: good for kind in kinds} | {"negative": np.array([[0.9, 0.1, 0.3], [0.5, 0.2, 0.8]], np.float32)}
    clips = [Clip(name, ()) for name in "abc"]
    sections = {s.key: s.measures for s in score_queries(queries, vectors, audio, clips)}
    assert sections["uiq question"]["R@1"].value == 1.0
    negative = {name: sections["uiq negative"][name].value for name in ("R@1", "dRank", "HNSR", "TFR", "HNSR@10")}
    assert negative == {"R@1": 0.5, "dRank": (2 - 1) / 2, "HNSR": 0.5, "TFR": 0.5, "HNSR@10": 0.0}
    assert sections["uiq average"]["Avg"].value == pytest.approx(1.0)


def test_published_averages_follow_from_the_published_parts():
    """A wrong digit in a copied table would show."""
    rows = [row for row in PUBLISHED if row.dataset == "uiq"]
    parts: dict[str, list[float]] = {}
    for row in rows:
        if row.section != "uiq average":
            parts.setdefault(row.system, []).append(row.values["R@5"])
    averages = {row.system: row.values["Avg"] for row in rows if row.section == "uiq average"}
    assert len(averages) == 10
    for system, average in averages.items():
        assert len(parts[system]) == 5 and np.mean(parts[system]) == pytest.approx(average, abs=0.011), system


def test_published_means_follow_from_the_published_sets():
    for kind in ("question", "imperative", "paraphrase", "tagging"):
        for mean in (row for row in PUBLISHED if row.dataset == "uiq" and row.section == f"uiq {kind}"):
            sets = [
                row.values["R@5"]
                for row in PUBLISHED
                if row.dataset != "uiq" and row.section == mean.section and row.system == mean.system
            ]
            assert not sets or np.mean(sets) == pytest.approx(mean.values["R@5"], abs=0.011), mean
