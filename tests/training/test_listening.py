"""Sounds that a tower cannot hear are told before the first step, and what was found is kept."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.errors import AudioError
from harken.training.data import Row
from harken.training.listening import LiveMels

from .. import tiny


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny.qwen2_audio(tmp_path / "model")


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    soundfile.write(tmp_path / "good.wav", tiny.wave(4000), 16000)
    soundfile.write(tmp_path / "short.wav", tiny.wave(300), 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    return [
        Row("good", tmp_path / "good.wav"),
        Row("short", tmp_path / "short.wav"),
        Row("none", None),
        Row("broken", tmp_path / "broken.wav"),
        Row("gone", tmp_path / "gone.wav"),
        Row("part", tmp_path / "good.wav", start_s=0.1),
    ]


def test_rows_without_a_sound_that_can_be_heard_are_told(model, rows):
    there, problems = LiveMels(model).usable(rows)
    assert [row.id for row in there] == ["good", "part"]
    assert [told.split(" ")[0].rstrip(":") for told in problems] == ["short", "none", "broken", "gone"]
    with pytest.raises(AudioError, match="too short"):
        LiveMels(model).of(rows[:2])


def test_a_verdict_is_kept_for_these_rows_and_this_front_end(model, rows, tmp_path):
    first = LiveMels(model, verdicts=tmp_path / "sounds").usable(rows)
    Path(tmp_path / "good.wav").unlink()
    assert LiveMels(model, verdicts=tmp_path / "sounds").usable(rows) == first
    assert LiveMels(model, verdicts=tmp_path / "sounds").usable(rows[:1])[0] == []
    assert LiveMels(model, max_s=9.0, verdicts=tmp_path / "sounds").usable(rows)[0] == []


def test_frames_are_followed_by_the_two_that_the_last_position_sees(model):
    short, whole = (LiveMels(model).frames(Row("x", None), tiny.wave(n)) for n in (4000, 480000))
    assert short.shape == (27, 128) and np.abs(short[-2:]).max() > 0
    # Where the transform has ended there is nothing.
    assert whole.shape == (3002, 128) and not whole[-2:].any()
