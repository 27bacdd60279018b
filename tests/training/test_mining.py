"""Hard negatives are the nearest that are not right; pairs pass the four stages, and a person's decisions are kept."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.errors import FileFormatError, InputError
from harken.training.data import Row
from harken.training.mining import PairSettings, final_pairs, mine_hard, mine_pairs, nearest_others, with_negatives
from harken.training.review import Pair, read_review, write_review
from harken.training.stages.rerank import read_negatives

RNG = np.random.default_rng


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 30), st.sampled_from([(None, None), (0.6, -0.2)]))
def test_the_nearest_others_are_those_of_a_full_sort(seed, k, num_rows, limits):
    rng = RNG(seed)
    queries, corpus = unit(rng.standard_normal((5, 8))), unit(rng.standard_normal((num_rows, 8)))
    own = [set(rng.integers(0, num_rows, 3).tolist()) for _ in range(5)]
    found = nearest_others(queries, corpus, own, k, max_score=limits[0], min_score=limits[1])
    scores = queries @ corpus.T
    for i in range(5):
        fits = lambda score: (limits[0] is None or score <= limits[0]) and (limits[1] is None or score >= limits[1])
        expected = [j for j in np.argsort(-scores[i], kind="stable") if j not in own[i] and fits(scores[i, j])][:k]
        assert found.ids[i] == expected
        np.testing.assert_allclose(found.scores[i], scores[i, expected], atol=1e-6)


def rows_and_vectors():
    """Two captions a row; row 3 says what row 0 says; sounds and captions lie around a circle."""
    said = [("A dog barks", "Woof"), ("A fox barks", "Yap"), ("Rain", "Drops"), ("a dog, barks!", "Growl")]
    rows = [Row(f"r{i}", None, long=captions) for i, captions in enumerate(said)]
    at = lambda angles: np.float32([[np.cos(a), np.sin(a)] for a in angles])
    return rows, at([0.0, 0.2, 1.5, 0.1]), at([0.0, 0.05, 0.2, 0.25, 1.5, 1.6, 0.1, 0.15])


def test_a_rerankers_negatives_are_none_of_the_rows_own_words_or_sounds():
    rows, audio, text = rows_and_vectors()
    mined = mine_hard(rows, audio, text, k=2)
    assert [one.id for one in mined] == ["r0", "r1", "r2", "r3"]
    # "a dog, barks!" is what row 0 says itself; "Growl" is not.
    assert mined[0].texts == ["Growl", "A fox barks"] and mined[0].text_ids == ["r3", "r1"]
    # Row 3 shares a caption with row 0: none of the two is the other's negative.
    assert mined[0].sounds == ["r1", "r2"] and mined[3].sounds == ["r1", "r2"]
    assert mined[2].sounds == ["r1", "r3"]
    assert mined[0].text_scores == pytest.approx([np.cos(0.15), np.cos(0.2)], abs=1e-6)
    assert mined[0].sound_scores == pytest.approx([np.cos(0.15), np.cos(1.45)], abs=1e-6)


def test_what_many_rows_say_is_one_negative():
    rows, audio, text = rows_and_vectors()
    many = [*rows, *(Row(f"s{i}", None, long=("Yap.",)) for i in range(3))]
    audio, text = np.concatenate([audio, audio[[2, 2, 2]]]), np.concatenate([text, text[[3, 3, 3]]])
    mined = mine_hard(many, audio, text, k=4)
    assert mined[0].texts == ["Growl", "A fox barks", "Yap", "Rain"] and mined[0].text_ids == ["r3", "r1", "r1", "r2"]
    assert not {"s0", "s1", "s2"} & set(mined[1].sounds) and "Yap" not in mined[4].texts


def test_the_reranker_reads_what_is_mined(tmp_path):
    mined = mine_hard(*rows_and_vectors(), k=2)
    path = tmp_path / "hard.jsonl"
    path.write_text("".join(f"{one.line()}\n" for one in mined))
    read = read_negatives(path)
    assert [(i, list(n.texts), list(n.sounds)) for i, n in read.items()] == [(o.id, o.texts, o.sounds) for o in mined]


def test_what_may_be_right_is_left_out():
    rows, audio, text = rows_and_vectors()
    assert mine_hard(rows, audio, text, k=2, max_score=0.985)[0].texts == ["A fox barks", "Yap"]
    assert mine_hard(rows, audio, text, k=8, min_score=0.9)[0].sounds == ["r1"]


def test_vectors_and_rows_must_add_up():
    rows, audio, text = rows_and_vectors()
    with pytest.raises(InputError, match="4 rows with 8 captions have 4 and 7 vectors"):
        mine_hard(rows, audio, text[:7])
    with pytest.raises(InputError, match="k is 0"):
        nearest_others(audio, audio, [()] * 4, 0)
    with pytest.raises(InputError, match="4 rows have 3 vectors"):
        mine_pairs(rows, audio[:3], Encoder(), PairSettings())
    with pytest.raises(InputError, match="x: has no caption, as 0 more"):
        mine_pairs([*rows, Row("x", None)], np.concatenate([audio, audio[:1]]), Encoder(), PairSettings())
    with pytest.raises(InputError, match="wanted at least 1"):
        PairSettings(overshoot=0.5)


class Encoder:
    """Texts are alike if they share their first letter."""

    def encode_text(self, texts):
        return np.eye(26, dtype=np.float32)[["abcdefghijklmnopqrstuvwxyz".index(text[0].lower()) for text in texts]]


def clips() -> tuple[list[Row], np.ndarray]:
    said = ["alpha", "apple", "beta", "beat", "gamma", "delta"]
    rows = [Row(text, None, long=(text, f"{text} too"), origins=(f"o{i}",)) for i, text in enumerate(said)]
    angles = np.float32([0.0, 0.01, 0.02, 0.5, 0.53, 2.0])
    return rows, np.stack([np.cos(angles), np.sin(angles)], 1)


def both(mined) -> set[tuple[str, str]]:
    return {(pair.anchor, pair.candidate) for pair in mined.pairs}


def test_pairs_sound_alike_and_are_described_otherwise():
    rows, audio = clips()
    mined = mine_pairs(rows, audio, Encoder(), PairSettings(k=2, num_wanted=2, overshoot=3.0))
    # Six clips, two neighbours each, four of these pairs found from both sides; alpha-apple and beta-beat begin alike.
    assert mined.num_acoustic == 8 and mined.num_text == len(mined.pairs) == 6
    assert (
        ("alpha", "beta") in both(mined)
        and ("alpha", "apple") not in both(mined)
        and ("beta", "beat") not in both(mined)
    )
    assert [pair.acoustic for pair in mined.pairs] == sorted((pair.acoustic for pair in mined.pairs), reverse=True)
    assert all(pair.text < 0.7 for pair in mined.pairs) and mined.threshold == pytest.approx(
        mined.pairs[-1].acoustic, abs=1e-6
    )


def test_the_thresholds_are_options():
    rows, audio = clips()
    strict = mine_pairs(rows, audio, Encoder(), PairSettings(k=5, min_acoustic=0.9997))
    assert both(strict) == {("alpha", "beta"), ("apple", "beta")}
    far = mine_pairs(rows, audio, Encoder(), PairSettings(k=5, max_acoustic=0.9997, min_acoustic=0.999))
    assert both(far) == {("beat", "gamma")}
    assert mine_pairs(rows, audio, Encoder(), PairSettings(k=5, max_text=1.1)).num_text == 15
    few = mine_pairs(rows, audio, Encoder(), PairSettings(k=5, num_wanted=1, overshoot=1.5))
    assert both(few) == both(strict)


def test_one_recording_is_no_pair():
    rows, audio = clips()
    rows[2] = Row("beta", None, long=("beta",), origins=("o0", "x"))
    found = both(mine_pairs(rows, audio, Encoder(), PairSettings(k=5)))
    assert ("alpha", "beta") not in found and ("apple", "beta") in found


@pytest.mark.parametrize("name", ["review.csv", "review.jsonl"])
def test_decisions_are_read_back_and_kept_when_written_anew(tmp_path, name):
    rows, audio = clips()
    pairs = mine_pairs(rows, audio, Encoder(), PairSettings(k=2, num_wanted=2)).pairs
    path = tmp_path / name
    assert write_review(path, pairs, rows) == 0
    assert read_review(path) == pairs
    text = path.read_text()
    assert "alpha | alpha too" in text
    first, second = pairs[:2]
    if name.endswith("csv"):
        lines = text.splitlines()
        lines[1] = lines[1].replace(",,,", ",YES,sure,", 1)
        lines[2] = lines[2].replace(",,,", ",n,,", 1)
        path.write_text("\n".join(lines))
    else:
        objects = [json.loads(line) for line in text.splitlines()]
        objects[0] |= {"decision": "yes", "note": "sure"}
        objects[1]["decision"] = "no"
        path.write_text("\n".join(map(json.dumps, objects)))
    decided = read_review(path)
    assert [(p.decision, p.note) for p in decided[:3]] == [("yes", "sure"), ("no", ""), ("", "")]
    assert write_review(path, list(reversed(pairs)), rows) == 2
    assert {(p.anchor, p.candidate, p.decision) for p in read_review(path)} == {
        (p.anchor, p.candidate, p.decision) for p in decided
    }
    with pytest.raises(InputError, match="holds decisions on 2 pairs that are not among the new ones"):
        write_review(path, pairs[2:], rows)
    assert final_pairs(decided) == {first.anchor: [first.candidate], first.candidate: [first.anchor]}
    everything = final_pairs(decided, 4, unreviewed=True)
    assert second.candidate not in everything.get(second.anchor, [])
    assert sum(map(len, everything.values())) == 2 * (len(pairs) - 1)


def test_the_nearest_accepted_come_first():
    pairs = [Pair("a", "b", 0.5, 0.1, "yes"), Pair("a", "c", 0.9, 0.1, "yes"), Pair("a", "d", 0.95, 0.1, "no")]
    assert final_pairs(pairs) == {"a": ["c"], "c": ["a"], "b": ["a"]}
    assert final_pairs(pairs, 4) == {"a": ["c", "b"], "c": ["a"], "b": ["a"]}
    with pytest.raises(InputError, match="no pair of 1 is accepted; 0 have a decision"):
        final_pairs([Pair("a", "b", 0.5, 0.1)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,b,0.5,0.1,perhaps", "x.csv:2: decision is 'perhaps'; wanted yes, no or nothing"),
        ("a,b,near,0.1,yes", "x.csv:2: acoustic or text is no number"),
        ("a,b,0.5,0.1", "x.csv:2: has no decision"),
        ("a,b,1,1,yes\na,b,1,1,no", "x.csv:3: the pair 'a', 'b' is there twice"),
    ],
)
def test_a_review_that_cannot_be_read_names_its_line(tmp_path, line, message):
    (tmp_path / "x.csv").write_text(f"anchor,candidate,acoustic,text,decision\n{line}\n")
    with pytest.raises(FileFormatError) as error:
        read_review(tmp_path / "x.csv")
    assert message in str(error.value)


def test_a_review_has_one_of_two_endings(tmp_path):
    with pytest.raises(InputError, match="ends in .csv or .jsonl"):
        write_review(tmp_path / "x.txt", [], [])


def test_rows_get_the_captions_of_their_negatives():
    rows, _ = clips()
    got = with_negatives(rows, {"alpha": ["beta", "unknown"]})
    assert got[0].negatives == ("beta", "beta too") and got[1] == rows[1]
