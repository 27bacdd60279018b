"""Vectors of a file are found by id, path and name, and only where these mean one; those of another making are refused."""

import numpy as np
import pytest

from harken.engine.encoded import Encoded, Failure
from harken.engine.fingerprint import Fingerprint
from harken.engine.vectors import write_vectors
from harken.errors import AudioError, FingerprintError, InputError
from harken.training.data import Row
from harken.training.row_vectors import audio_vectors, read_audio_vectors, text_vectors

from .data.miniatures import write_sound

MADE = Fingerprint("m", "w", None, "r", "s", "f", "float32", "0")


class Model:
    """A sound's vector is its length and first sample; a text's its length."""

    sample_rate_hz, read_limit_s = 16000, None

    def try_encode_audio(self, waves):
        good = [i for i, wave in enumerate(waves) if len(wave.samples) > 100]
        vectors = [[len(waves[i].samples), 1000 * waves[i].samples[0]] for i in good]
        failures = [Failure(i, w.name, "encode", f"{w.name}: too short") for i, w in enumerate(waves) if i not in good]
        return Encoded(np.float32(vectors).reshape(-1, 2), good, [1.0] * len(good), failures)

    def encode_text(self, texts):
        return np.float32([[len(text), 1.0] for text in texts])


def test_sounds_that_fail_are_told_and_the_others_keep_their_order(tmp_path):
    rows = [Row(f"r{i}", write_sound(tmp_path / f"{i}.wav", i)) for i in range(3)]
    rows.insert(1, Row("gone", tmp_path / "gone.wav"))
    rows.insert(2, Row("short", write_sound(tmp_path / "short.wav", num_samples=50)))
    kept, vectors, problems = audio_vectors(rows, Model())
    assert [row.id for row in kept] == ["r0", "r1", "r2"] and len(problems) == 2
    alone = np.concatenate([audio_vectors([row], Model())[1] for row in kept])
    np.testing.assert_array_equal(vectors, alone)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    with pytest.raises(AudioError, match="not one of 1 sounds"):
        audio_vectors(rows[1:2], Model())


def test_vectors_are_found_by_what_means_one_sound_only(tmp_path):
    names = ["clip", "sounds/a.wav", "x/same.wav", "y/same.wav", str(tmp_path / "b.flac")]
    write_vectors(
        tmp_path / "v.parquet",
        names,
        Encoded(np.eye(5, dtype=np.float32), list(range(5)), [1.0] * 5, []),
        fingerprint=MADE,
    )
    rows = [
        Row("clip", None), Row("one", tmp_path / "a.wav"), Row("two", tmp_path / "same.wav"), Row("three", tmp_path / "b.flac"),
        Row("four", tmp_path / "b.flac", start_s=1.0, end_s=2.0),
    ]  # fmt: skip
    kept, vectors, problems = read_audio_vectors(rows, tmp_path / "v.parquet", MADE)
    assert [row.id for row in kept] == ["clip", "one", "three"] and vectors.argmax(1).tolist() == [0, 1, 4]
    assert [problem.split(":")[0] for problem in problems] == ["two", "four"]
    with pytest.raises(InputError, match="has a vector for none of 1 rows; its ids are like"):
        read_audio_vectors(rows[2:3], tmp_path / "v.parquet")
    other = Fingerprint("m", "other weights", None, "r", "s", "f", "float32", "0")
    with pytest.raises(FingerprintError, match="weights_sha256"):
        read_audio_vectors(rows, tmp_path / "v.parquet", other)


def test_captions_are_laid_out_row_by_row():
    rows = [Row("a", None, long=("x", "yy"), short=("zzz",)), Row("b", None, long=("ww",))]
    vectors = text_vectors(rows, Model())
    assert np.rint(vectors[:, 0] / vectors[:, 1]).tolist() == [1, 2, 3, 2]
    with pytest.raises(InputError, match="1 rows have no caption"):
        text_vectors([Row("c", None)], Model())
