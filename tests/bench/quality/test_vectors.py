"""Vectors are made once: over calls, over runs, and over a run that was killed."""

import numpy as np
import pytest

from harken.bench.quality.noise import Noise
from harken.bench.quality.sounds import Sound
from harken.bench.quality.vectors import CHUNK, Vectors
from harken.errors import AudioError

from .world import Model, write_sound


@pytest.fixture
def sounds(tmp_path):
    return [Sound(f"{i}", write_sound(tmp_path / f"{i}.wav", i, part_s=0.01)) for i in range(CHUNK + 3)]


def test_a_second_run_asks_the_model_nothing(tmp_path, sounds):
    first, second = Model(), Model()
    texts = ["a 1", "a 2", "a 1"]
    made = Vectors(first, tmp_path / "kept").sounds(sounds), Vectors(first, tmp_path / "kept").texts(texts)
    again = Vectors(second, tmp_path / "kept").sounds(sounds), Vectors(second, tmp_path / "kept").texts(texts)
    assert first.heard and first.read == ["a 1", "a 2"] and not second.heard and not second.read
    assert all(np.array_equal(a, b) for a, b in zip(made, again)) and len(made[1]) == 3


def test_what_was_done_before_a_kill_is_kept(tmp_path, sounds):
    class Killed(Model):
        def try_encode_audio(self, sources, *, instruction=None):
            if len(sources) < CHUNK:
                raise KeyboardInterrupt
            return super().try_encode_audio(sources)

    with pytest.raises(KeyboardInterrupt):
        Vectors(Killed(), tmp_path / "kept").sounds(sounds)
    model = Model()
    Vectors(model, tmp_path / "kept").sounds(sounds)
    assert len(model.heard) == 3


def test_another_model_another_file_and_another_instruction_are_other_vectors(tmp_path, sounds):
    vectors = lambda model, **options: Vectors(model, tmp_path / "kept", **options).sounds(sounds[:2])
    vectors(Model())
    write_sound(tmp_path / "0.wav", 9, part_s=0.02)
    changed = Model()
    vectors(changed)
    assert changed.heard == [9, 1]
    told, other = Model(), Model(name="other")
    other.fingerprint = type(other.fingerprint)(**{**other.fingerprint.to_dict(), "weights_sha256": "x"})
    vectors(told, audio_instruction="Listen")
    vectors(other)
    assert told.heard == other.heard == [9, 1]


def test_two_parts_of_a_file_are_two_sounds(tmp_path):
    path = write_sound(tmp_path / "long.wav", 4, 7)
    model = Model()
    for start_s in (0.0, 0.25):
        Vectors(model, tmp_path / "kept").sounds([Sound("part", path, start_s, start_s + 0.2)])
    assert model.heard == [4, 7]


def test_a_failure_is_kept_and_named(tmp_path, sounds):
    (tmp_path / "1.wav").write_bytes(b"nothing")
    for _ in range(2):
        made, errors = Vectors(Model(), tmp_path / "kept").try_sounds(sounds[:3])
        assert len(made) == 2 and list(errors) == ["1"] and "1.wav" in errors["1"]
    with pytest.raises(AudioError, match="1 of 3 sounds cannot be embedded"):
        Vectors(Model()).sounds(sounds[:3])


def test_progress_counts_every_sound(sounds):
    told: list[tuple[str, int]] = []
    Vectors(Model(), progress=lambda what, count: told.append((what, count))).sounds(sounds)
    assert told == [("sounds", CHUNK), ("sounds", 3)]


def power(x) -> float:
    return float(np.mean(np.asarray(x, np.float64) ** 2))


@pytest.fixture
def noisy(tmp_path):
    """A clip of noise, and a folder of two other noises, one shorter and one longer."""
    from soundfile import write

    rng = np.random.default_rng(0)
    for name, seconds, rate in (("clip", 0.5, 16000), ("noise/short", 0.1, 16000), ("noise/long", 3.0, 8000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, round(seconds * rate)), rate, subtype="FLOAT")
    return Sound("clip", tmp_path / "clip.wav"), tmp_path / "noise"


@pytest.mark.parametrize("snr_db", [5.0, 10.0, 15.0])
def test_noise_has_the_power_that_was_asked_for(noisy, snr_db):
    sound, folder = noisy
    clean = sound.with_noise(Noise(folder, 200)).load().samples
    for name in ("clip", "other", "third", "fourth"):
        mixed = Sound(name, sound.source).with_noise(Noise(folder, snr_db)).load()
        assert len(mixed.samples) == len(clean)
        ratio_db = 10 * np.log10(power(clean) / power(mixed.samples - clean))
        assert ratio_db == pytest.approx(snr_db, abs=1e-3)


def test_the_same_noise_at_every_ratio_and_another_for_another_seed(noisy):
    sound, folder = noisy
    clean = sound.with_noise(Noise(folder, 200)).load().samples
    noise = lambda name, snr_db, seed: (
        Sound(name, sound.source).with_noise(Noise(folder, snr_db, seed=seed)).load().samples - clean
    )
    others = 0
    for name in ("clip", "b", "c", "d", "e", "f"):
        loud, soft, other = noise(name, 5, 0), noise(name, 15, 0), noise(name, 5, 3)
        assert np.corrcoef(loud, soft)[0, 1] > 0.999 and np.array_equal(loud, noise(name, 5, 0))
        others += bool(np.corrcoef(loud, other)[0, 1] < 0.9)
    assert others >= 3
