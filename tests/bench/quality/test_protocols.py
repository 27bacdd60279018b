"""Every benchmark is read from its publishers' files and scored as it should be, by command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from harken.bench.quality import command
from harken.bench.quality.benchmarks import BENCHMARKS
from harken.engine.audio import decode
from harken.engine.cli.app import app

from . import published_files
from .world import Model, write_lines, write_sound


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    """Runs `harken eval` with a model of the known world; gives exit code, output and sections by key."""

    def run(benchmark: str, data, *options: str, model: Model | None = None):
        monkeypatch.setattr(command, "load_model", lambda *_: model or Model())
        result = CliRunner().invoke(app, ["eval", benchmark, "--data", str(data), "--json", *map(str, options)])
        rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        ours = {row["section"]: row for row in rows if row["from"] == "measured"}
        return result.exit_code, result.output, ours

    return run


@pytest.fixture
def files(tmp_path):
    def write(benchmark: str):
        published_files.FILES[benchmark](tmp_path / benchmark)
        return tmp_path / benchmark

    return write


def test_every_benchmark_has_a_miniature():
    assert set(published_files.FILES) == set(BENCHMARKS)


MAIN = {
    "labels": ("a2l", "mAP"),
    "choices": ("choice", "accuracy"),
    "captions": ("t2a", "R@1"),
    "questions": ("t2a", "R@1"),
}


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_what_fits_is_found_and_what_is_off_by_one_is_not(evaluate, files, dataset):
    section, measure = MAIN[BENCHMARKS[dataset].kind]
    section += " by caption" if dataset == "sounds" else ""
    code, output, right = evaluate(dataset, files(dataset))
    assert code == 0, output
    # FSD50K's clips have a second label that cannot be heard here.
    best = 100.0 if dataset != "fsd50k" else 50.0
    assert float(right[section][measure]) >= best
    code, output, wrong = evaluate(dataset, files(dataset), model=Model(shift=1))
    assert code == 0, output
    assert float(wrong[section][measure]) < 60 <= float(right[section][measure])


def test_captions_of_one_clip_answer_for_each_other(evaluate, files):
    _, output, found = evaluate("clotho", files("clotho"))
    assert found["a2t"]["R@1"] == found["t2t"]["R@5"] == found["a2t"]["mAP@10"] == "100.0"
    assert "30 queries among 29" in output or "t2t" in found


def test_mecat_asks_with_its_short_captions(evaluate, files):
    model = Model()
    evaluate("mecat", files("mecat"), model=model)
    assert len(model.read) == 3 * published_files.NUM and not any("long tale" in text for text in model.read)


def test_parts_of_a_long_sound_are_heard_alone_and_it_is_decoded_once(evaluate, files, monkeypatch):
    from harken.bench.quality import sounds

    decoded = []
    monkeypatch.setattr(sounds, "decode", lambda source: decoded.append(source) or decode(source))
    model = Model()
    code, output, _ = evaluate("epic-sounds", files("epic-sounds"), model=model)
    assert code == 0, output
    assert model.heard == list(range(published_files.NUM)) and len(decoded) == 1


def test_a_label_is_its_own_text_or_what_a_template_makes_of_it(evaluate, files):
    model = Model()
    evaluate("esc50", files("esc50"), "--label-template", "{label} can be heard", model=model)
    assert model.read == [f"class {i} can be heard" for i in range(published_files.NUM)]


def test_a_label_that_is_only_seen_is_no_label(evaluate, files):
    model = Model()
    evaluate("vggsounder", files("vggsounder"), model=model)
    assert model.read == [f"class {i}" for i in range(published_files.NUM)]


def test_own_sounds_that_share_a_caption_or_a_class_answer_for_each_other(evaluate, files):
    data = files("sounds")
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    # Clip 1 shares its caption with clip 0, clip 2 its class; clips 1 and 2 sound the same.
    write_sound(data / "audio/s1.wav", 2)
    rows[1] |= {"caption": "Sound 0.", "captions": ["Sound 0.", "Also 0."]}
    rows[2] |= {"group": "group_0"}
    write_lines(data / "manifest.jsonl", rows)
    _, output, found = evaluate("sounds", data)
    # Five different captions ask; "Sound 2." has clip 1 before clip 2, as equal scores count against it.
    assert found["t2a by caption"]["R@1"] == found["t2a by group"]["R@1"] == "80.0"
    # Clip 1 takes itself for "Sound 2.", which is neither its caption nor of its class.
    assert found["a2t by caption"]["R@1"] == found["a2t by group"]["R@1"] == "83.3"
    assert '"from": "exact", "R@1": "20.0"' in output
    for row in rows:
        del row["group"]
    write_lines(data / "manifest.jsonl", rows)
    _, _, found = evaluate("sounds", data)
    assert "t2a by caption" in found and not {"t2a by group", "a2l"} & set(found)


def test_questions_of_one_utterance_share_a_candidate(evaluate, files):
    model = Model()
    _, _, found = evaluate("librisqa", files("librisqa"), "--side", "answer", model=model)
    assert model.heard == list(range(published_files.NUM))
    assert found["a2t"]["R@1"] == "100.0" and set(model.read) == {f"It is {i}." for i in range(published_files.NUM)}


def test_choices_tell_each_task_and_chance(evaluate, files):
    code, output, found = evaluate("mmau-mini", files("mmau-mini"))
    assert {"choice", "choice music", "choice sound", "choice speech"} == set(found)
    assert '"from": "exact", "accuracy": "25.0"' in output


def test_a_recipe_without_sound_and_text_is_asked_by_sound_alone_only_by_name(evaluate, files):
    data, model = files("mmau-mini"), Model(takes_both=False)
    model.encode_audio_text = None  # type: ignore[method-assign,assignment]
    code, _, found = evaluate("mmau-mini", data, "--side", "audio", model=model)
    assert code == 0 and found["choice"]["accuracy"] == "100.0"


def test_noise_is_a_section_a_ratio(evaluate, files, tmp_path):
    write_sound(tmp_path / "noise/hum.wav", 3)
    _, _, found = evaluate("clotho", files("clotho"), "--noise", tmp_path / "noise", "--snr", "60", "--snr", "-60")
    assert found["t2a, noise at 60 dB"]["R@1"] == "100.0"
    assert float(found["t2a, noise at -60 dB"]["R@1"]) < 50


def test_published_noise_stands_beside_ours_and_says_what_its_numbers_are_not(evaluate, files, tmp_path):
    write_sound(tmp_path / "noise/hum.wav", 3)
    _, output, _ = evaluate("esc50", files("esc50"), "--noise", tmp_path / "noise")
    rows = [json.loads(line) for line in output.splitlines() if '"a2l, noise at 10 dB"' in line]
    theirs = next(row for row in rows if row["system"] == "LAION-CLAP")
    assert theirs["mAP@10"] == "87.2" and "cannot be dB" in theirs["from"]


def test_captions_that_were_generated_stand_for_the_sounds(evaluate, files, tmp_path):
    made = write_lines(
        tmp_path / "captions.jsonl", [{"id": f"Old Tap {i}.wav", "caption": f"number {i} drips"} for i in range(6)]
    )
    _, _, found = evaluate("clotho", files("clotho"), "--captions", made)
    assert found["caption-then-text semantic"]["R@1"] == "100.0"
    # Four of five captions share only the number with the caption; that is enough for BM25 and for the overlap of words.
    assert found["caption-then-text BM25"]["R@1"] == found["caption-then-text lexical"]["R@1"] == "100.0"


def test_the_nearest_known_caption_stands_for_the_sound(evaluate, files, tmp_path):
    known = tmp_path / "known.txt"
    known.write_text("\n".join(f"the {i}" for i in range(6)))
    _, _, found = evaluate("clotho", files("clotho"), "--known-captions", known)
    assert found["caption-then-text lexical"]["R@1"] == "100.0"


def test_published_rows_stand_below_and_say_so(evaluate, files):
    _, output, _ = evaluate("clotho", files("clotho"))
    rows = [json.loads(line) for line in output.splitlines() if '"t2a"' in line]
    assert rows[0]["from"] == "measured" and rows[1]["system"] == "random order"
    robust = next(row for row in rows if row["system"] == "Robust-ATR")
    assert robust["from"] == "published, Robust-ATR table 1" and (robust["R@1"], robust["mAP@10"]) == ("15.8", "26.7")
    assert all(row["from"].startswith("published") for row in rows[2:])


def test_equal_scores_count_against_us_unless_told_otherwise(evaluate, files):
    class Deaf(Model):
        def try_encode_audio(self, sources, *, instruction=None):
            encoded = super().try_encode_audio(sources)
            encoded.vectors[:] = np.eye(1, self.dim)
            return encoded

    _, _, pessimistic = evaluate("clotho", files("clotho"), model=Deaf())
    _, _, optimistic = evaluate("clotho", files("clotho"), "--ties", "optimistic", model=Deaf())
    assert pessimistic["t2a"]["R@5"] == "0.0" and optimistic["t2a"]["R@1"] == "100.0"


def test_one_caption_a_clip_is_drawn_as_released_code_draws_it(evaluate, files):
    import random

    draw = random.Random(0)
    expected = [draw.choice(range(5 * i, 5 * i + 5)) for i in range(6)]
    from harken.bench.quality.retrieval import asking

    assert asking(np.repeat(np.arange(6), 5), "one").tolist() == expected


def test_triplets_flip_with_the_instruction(evaluate, tmp_path):
    sounds = {name: write_sound(tmp_path / f"{name}.wav", i).name for i, name in enumerate("qab")}
    rows = [
        {"query": sounds["q"], "right": sounds["a"], "wrong": sounds["b"], "instruction": "Listen"},
        {"query": sounds["q"], "right": sounds["b"], "wrong": sounds["a"], "instruction": "Listen"},
    ]
    file = write_lines(tmp_path / "triplets.jsonl", rows)
    code, output, found = evaluate("triplets", file)
    assert code == 0, output
    assert (found["triplets"]["accuracy"], found["triplets"]["flipped"]) == ("50.0", "0.0")
