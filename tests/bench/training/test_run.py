"""The bench of training: all systems train the same thing, one that does not is not timed, and what was measured is kept."""

import json
from dataclasses import replace

import pytest
import torch

from harken.bench.report.collect import read_result
from harken.bench.report.write import render_markdown
from harken.bench.training import run
from harken.bench.training.case import distinct, open_case, open_model, write_pairs
from harken.bench.training.rivals import rival_systems
from harken.bench.training.systems import EXACT, ROUNDED_FEATURES, Gradient, System, cosine, gate, harken_systems
from harken.errors import InputError
from harken.training.data import Row

from ... import tiny
from ...training.runs import write_sounds

RIVALS = {"sentence-transformers", "sentence-transformers, cached loss", "HF Trainer"}
SMALL = ["--batch", "3", "--steps", "1", "--rounds", "1", "--rank", "4", "--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("models") / "model", text="llama", num_mels=80)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"), 7, 6)


@pytest.fixture(scope="module")
def result(checkpoint, sounds, tmp_path_factory):
    """Of both stages on a model whose tower is frozen."""
    out = tmp_path_factory.mktemp("results") / "train.json"
    sizes = [*SMALL, "--micro-batch", "2", "--max-tokens", "40"]
    assert run.main(["--model", str(checkpoint), "--data", str(sounds), *sizes, "--out", str(out)]) == 0
    return out


@pytest.fixture
def case(checkpoint, sounds, tmp_path):
    args = run.parse(["--model", str(checkpoint), "--stage", "text", *SMALL])
    settings = run.settings_of(args, sounds, tmp_path)
    return open_case(settings, open_model(settings, None, tiny=False))


def test_every_system_passes_the_gate_in_both_stages(result):
    rows = json.loads(result.read_text())["rows"]
    ours = {"harken", "harken, grad cache"}
    assert {r["system"] for r in rows if r["stage"] == "text"} == ours | RIVALS
    assert {r["system"] for r in rows if r["stage"] == "audio-text"} == ours | RIVALS | {"harken, tower each step"}
    for row in rows:
        of_cache = row["stage"] == "audio-text" and row["system"] in ours
        allowed = ROUNDED_FEATURES if of_cache else EXACT
        assert row["loss_difference"] <= allowed.loss_difference, row
        assert row["gradient_cosine"] >= allowed.gradient_cosine, row
        assert (row["kept_s"] is not None) == of_cache


def test_rows_hold_what_was_measured(result):
    values = json.loads(result.read_text())
    assert values["bench"] == "train" and values["settings"]["lora"]["parts"] == ["decoder"]
    for row in values["rows"]:
        assert 0 < row["min_step_s"] <= row["median_step_s"]
        assert row["samples_per_s"] == pytest.approx(3 / row["median_step_s"])
        first = next(r for r in values["rows"] if r["stage"] == row["stage"] and r["system"] == "harken")
        assert row["ratio"] == pytest.approx(row["median_step_s"] / first["median_step_s"])
        assert row["peak_bytes"] >= 0


def test_the_report_shows_them_beside_the_published_figure(result):
    shown = render_markdown(result.parent)
    assert "## Training" in shown and "| audio-text | HF Trainer |" in shown
    assert "published: AuroLA, 7B, both LoRAs, 10 s clips, one H200 | 1.71 |" in shown
    assert "on a GPU: not measured" in shown
    assert read_result(result).bench == "train"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_agree_where_the_tower_is_trained_too(dtype, tmp_path):
    args = run.parse(["--arch", "omni-3b", "--tiny", "--dtype", dtype, *SMALL])
    settings = run.settings_of(args, write_pairs(tmp_path / "sounds", "1s", 3), tmp_path)
    case = open_case(replace(settings, stage="audio-text"), open_model(settings, args.arch, tiny=True))
    systems = [*harken_systems(case), *rival_systems(case, micro_batch=2, workers=0)]
    near, failed = gate(systems, dtype)
    assert set(near) == {"harken", "harken, grad cache"} | RIVALS and not failed
    assert settings.lora.parts == ("decoder", "tower") and any(
        "audio_tower" in name for name in systems[0].gradient().parts
    )


def test_a_system_that_trains_something_else_is_not_timed(case):
    ours = harken_systems(case)[0]

    def turned() -> Gradient:
        right = ours.gradient()
        return replace(right, parts={name: torch.flip(part, (0,)) for name, part in right.parts.items()})

    def broken() -> Gradient:
        raise RuntimeError("no such layer")

    def forbidden(first: int, num: int) -> list[float]:
        raise AssertionError("was timed")

    wrong = {
        "loss": lambda: replace(ours.gradient(), loss=ours.gradient().loss * 1.001),
        "gradient": turned,
        "broken": broken,
        "fewer": lambda: Gradient(ours.gradient().loss, dict(list(ours.gradient().parts.items())[:-1])),
    }
    systems = [ours, *(System(name, gradient, forbidden) for name, gradient in wrong.items())]
    rows, failed = run.measure(case, systems, steps=1, rounds=1)
    assert [row["system"] for row in rows] == ["harken"] and set(failed) == set(wrong)
    assert failed["broken"] == "RuntimeError: no such layer" and "wanted within 0.0001" in failed["loss"]


def test_the_gate_leaves_the_weights_as_they_are_and_a_turn_does_not(case):
    before = {name: p.detach().clone() for name, p in case.embedder.trainable().items()}
    systems = harken_systems(case)
    assert set(gate(systems, "float32")[0]) == {"harken", "harken, grad cache"}
    assert all(torch.equal(p, before[name]) for name, p in case.embedder.trainable().items())
    assert len(systems[0].seconds(0, 2)) == 2
    assert not all(torch.equal(p, before[name]) for name, p in case.embedder.trainable().items())


def test_out_of_memory_ends_a_system_and_not_the_run(case):
    ours = harken_systems(case)[0]

    def too_much(first: int, num: int) -> list[float]:
        raise torch.OutOfMemoryError

    rows, failed = run.measure(case, [ours, System("big", ours.gradient, too_much)], steps=1, rounds=2)
    assert [row["system"] for row in rows] == ["harken"] and failed == {"big": "out of memory at a batch of 3"}


def test_a_gradient_that_is_zero_or_not_a_number_is_near_none():
    one = {"a": torch.ones(2)}
    assert cosine(one, one) == pytest.approx(1) and cosine(one, {"a": -torch.ones(2)}) == pytest.approx(-1)
    assert cosine(one, {"a": torch.zeros(2)}) == 0 and cosine(one, {"a": torch.tensor([1.0, float("nan")])}) == 0


def test_no_text_is_in_two_pairs():
    rows = [Row("1", None, long=("a", "b"), tags=("t",)), Row("2", None, long=("c",)), Row("3", None, long=("d", "a"))]
    assert [(row.id, row.captions, row.tags) for row in distinct(rows, 2)] == [("1", ("a", "b"), ())]
    assert [row.captions for row in distinct(rows, 1)] == [("a",), ("c",), ("d",)]


@pytest.mark.parametrize("given", [["--tiny"], ["--arch", "omni-3b", "--recipe", "harken-mini"]])
def test_what_does_not_fit_together_is_refused(given):
    with pytest.raises(InputError, match="harken bench train: --"):
        run.parse(given)
