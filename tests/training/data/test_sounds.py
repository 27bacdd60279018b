"""A row's sound is the part that is meant; one that cannot be read is an error, never silence."""

import numpy as np
import pytest

from harken.errors import AudioError
from harken.training.data import Row
from harken.training.data.sounds import load_sound, load_sounds, sound_hash, unreadable

from . import miniatures


def test_sounds_that_cannot_be_decoded_are_errors_never_silence(tmp_path):
    good = miniatures.write_sound(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(good.read_bytes()[:60])
    rows = [
        Row("a", good),
        Row("b", tmp_path / "b.wav"),
        Row("c", tmp_path / "c.wav"),
        Row("d", good, start_s=0.4, end_s=9.0),
    ]
    assert [str(e).split(" ")[0] for _, e in load_sounds(rows) if isinstance(e, AudioError)] == ["b", "c", "d"]
    assert len(list(unreadable(rows))) == 3
    with pytest.raises(AudioError, match="e: has no sound"):
        load_sound(Row("e", None))


def test_a_part_is_cut_out_and_brought_to_the_rate(tmp_path):
    path = miniatures.write_sound(tmp_path / "a.wav")
    whole, part = load_sound(Row("a", path)), load_sound(Row("a", path, start_s=0.1, end_s=0.35))
    np.testing.assert_array_equal(part.samples, whole.samples[1600:5600])
    assert load_sound(Row("a", path), 8000).sample_rate_hz == 8000
    assert len(load_sound(Row("a", path), max_s=0.1).samples) == 1600


def test_a_sound_has_one_hash_in_every_container(tmp_path):
    wav, flac = (load_sound(Row("a", miniatures.write_sound(tmp_path / f"a{e}"))) for e in (".wav", ".flac"))
    other = load_sound(Row("b", miniatures.write_sound(tmp_path / "b.wav", 1)))
    assert sound_hash(wav) == sound_hash(flac) != sound_hash(other)
