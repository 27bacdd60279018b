"""Leakage is found by id, by the recording's name at its site and by samples; captions in common are told apart."""

from harken.training.data import Row, read_dataset
from harken.training.data.leakage import find_leakage

from . import miniatures


def row(name: str, *captions: str, source: str = "s", origins: tuple[str, ...] = (), audio=None) -> Row:
    return Row(name, audio, long=captions, source=source, origins=origins)


def test_the_same_video_is_found_under_two_datasets_names(tmp_path):
    test = read_dataset("audiocaps", *miniatures.write(tmp_path, "audiocaps")).rows
    train = read_dataset("wavcaps", *miniatures.write(tmp_path, "wavcaps", 2)).rows
    found = find_leakage(train, test)
    assert found.shared["origin"] == {"--a1b2c3d4e_30": ["AudioSet_SL/Y--a1b2c3d4e.wav"]}
    assert found.shared["id"] == {} and found.leaked == ["--a1b2c3d4e_30"]
    assert [(line["by"], line["test rows"], line["percent"]) for line in found.table()] == [
        ("id", 0, 0.0), ("origin", 1, 50.0), ("caption", 0, 0.0), ("any but caption", 1, 50.0)
    ]  # fmt: skip


def test_the_same_file_name_is_found_whatever_its_case_and_ending(tmp_path):
    test = read_dataset("clotho", *miniatures.write(tmp_path, "clotho")).rows
    train = read_dataset("wavcaps", *miniatures.write(tmp_path, "wavcaps", 1)).rows
    assert find_leakage(train, test).shared["origin"] == {"Old Tap.wav": ["FreeSound/81"]}


def test_freesound_numbers_meet_across_datasets():
    esc, wavcaps = (
        row("1-81-A-0.wav", origins=("freesound:81",)),
        row("FreeSound/81", origins=("freesound:81", "file:x")),
    )
    assert find_leakage([wavcaps], [esc]).leaked == ["1-81-A-0.wav"]


def test_bare_numbers_of_two_datasets_are_not_the_same_clip():
    assert find_leakage([row("7", source="a")], [row("7", source="b")]).leaked == []
    assert find_leakage([row("7", source="a")], [row("7", source="a")]).leaked == ["7"]
    assert find_leakage([row("x_7", source="a")], [row("x_7", source="b")]).leaked == ["x_7"]


def test_captions_in_common_are_no_proof():
    found = find_leakage(
        [row("a", "A dog, barking!"), row("b", "a DOG barking")], [row("c", "A dog barking."), row("d", "Rain")]
    )
    assert found.shared["caption"] == {"c": ["a", "b"]} and found.leaked == []


def test_the_same_samples_are_found_in_another_container(tmp_path):
    wav, flac, other = (miniatures.write_sound(tmp_path / n, s) for n, s in (("a.wav", 0), ("b.flac", 0), ("c.wav", 1)))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    train = [row("a", audio=wav), row("c", audio=other), row("bad", audio=tmp_path / "bad.wav")]
    found = find_leakage(train, [row("b", audio=flac.read_bytes())], audio=True)
    assert found.shared["audio"] == {"b": ["a"]} and len(found.problems) == 1 and "bad.wav" in found.problems[0]
    assert "audio" not in find_leakage(train, [row("b", audio=flac)]).shared
