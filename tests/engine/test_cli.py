"""The commands, from sound files to hits, with a stand-in for the model; its vectors are one direction a file's stem."""

import json
import subprocess
import sys
import zlib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harken.engine import load as loading
from harken.engine.audio import load_audio
from harken.engine.cli import application, demo
from harken.engine.encoded import Encoded, Failure
from harken.engine.fingerprint import Fingerprint
from harken.engine.recipes import get_recipe
from harken.errors import AudioError, ModelError

from .audio.sounds import encoded as encoded_sound
from .audio.sounds import noise

app = application()


class FakeModel:
    """Reads sounds for real; a word's vector is drawn from its checksum."""

    def __init__(self, path=None, **options):
        if path == "nonsense":
            raise ModelError("nonsense: there is no such model")
        self.options = {"path": path, **options}
        self.folder, self.adapter = Path(path or "builtin"), options.get("adapter")
        self.recipe = get_recipe(options.get("recipe") or "harken-mini")
        self.dim = 32
        name, dtype = str(self.folder), options.get("dtype") or "float32"
        self.fingerprint = Fingerprint(name, f"sha of {name}", None, self.recipe.name, "r", "w80", dtype, "0.1.0")

    def _vector(self, word):
        vector = np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def try_encode_audio(self, sources, *, instruction=None, progress=None):
        vectors, rows, durations, failures = [np.zeros((0, self.dim), np.float32)], [], [], []
        for row, source in enumerate(sources):
            try:
                sound = load_audio(source)
                vectors.append(self._vector(Path(source).stem)[None])
                rows.append(row)
                durations.append(sound.duration_s)
            except AudioError as error:
                failures.append(Failure(row, str(source), "read", str(error)))
            if progress is not None:
                progress(1)
        return Encoded(np.concatenate(vectors), rows, durations, failures)

    def encode_audio(self, sources, *, instruction=None, progress=None):
        encoded = self.try_encode_audio(sources, progress=progress)
        if encoded.failures:
            raise AudioError(encoded.failures[0].error)
        return encoded.vectors

    def encode_text(self, texts, *, instruction=None):
        return np.stack([self._vector(text) for text in texts])


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """Every model the commands load, in order."""
    models = []

    def load(path=None, **options):
        models.append(FakeModel(path, **options))
        return models[-1]

    monkeypatch.setattr(loading, "load", load)
    return models


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    (folder / "deep").mkdir(parents=True)
    for name in ("cat.wav", "dog.WAV", "deep/rain.flac"):
        (folder / name).write_bytes(
            encoded_sound(noise(0.2, 16000), 16000, "FLAC" if "flac" in name else "WAV", "PCM_16")
        )
    (folder / "notes.txt").write_text("no sound")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def index(sounds, tmp_path):
    assert run("embed", sounds, "-o", tmp_path / "v.parquet", "--recipe", "qwen2-audio").exit_code == 0
    assert run("index", "build", tmp_path / "v.parquet", "-o", tmp_path / "a.harken").exit_code == 0
    return tmp_path / "a.harken"


def test_from_a_folder_to_hits(index, sounds, loaded):
    for query in (["dog"], ["--audio", sounds / "dog.WAV"]):
        result = run("search", index, *query, "-k", 2, "--json")
        assert result.exit_code == 0, result.output
        hits = lines(result)
        assert [hit["rank"] for hit in hits] == [1, 2] and hits[0]["id"] == str(sounds / "dog.WAV")
        assert hits[0]["score"] == pytest.approx(1.0, abs=1e-6) and hits[1]["score"] < 0.99
    table = run("search", index, "rain", "-k", 1)
    assert table.exit_code == 0 and "rain.flac" in table.stdout and "1.000" in table.stdout
    # the model of the index is loaded again without being named
    assert loaded[-1].options["recipe"] == "qwen2-audio" and loaded[-1].options["path"] == "builtin"


def test_one_bad_file_among_a_hundred(sounds, tmp_path):
    for i in range(97):
        (sounds / f"{i:03}.wav").write_bytes((sounds / "cat.wav").read_bytes())
    (sounds / "050.wav").write_bytes(b"this is text")
    out = tmp_path / "v.parquet"
    result = run("embed", sounds, "-o", out, "--json")
    assert result.exit_code == 1
    assert lines(result)[0]["vectors"] == 99 and lines(result)[0]["failed"] == 1
    assert "050.wav: is not a sound file" in result.stderr
    assert run("embed", sounds, "-o", out, "--allow-errors").exit_code == 0
    info = lines(run("info", out, "--json"))[0]
    assert (info["kind"], info["vectors"], info["failed"]) == ("vectors", 99, 1)
    built = run("index", "build", out, "-o", tmp_path / "a.harken")
    assert built.exit_code == 0 and "left out 1" in built.stderr


def test_another_model_is_refused_with_both_named(index):
    result = run("search", index, "dog", "--model", "other")
    assert result.exit_code == 2 and "builtin" in result.stderr and "other" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["search", "INDEX"], "either a text or --audio"),
        (["search", "INDEX", "dog", "--audio", "x.wav"], "either a text or --audio"),
        (["search", "INDEX", "--audio", "missing.wav"], "missing.wav: there is no such file"),
        (["search", "nowhere.harken", "dog"], "nowhere.harken: is no index"),
        (["search", "INDEX", "dog", "--model", "nonsense"], "nonsense: there is no such model"),
        (["search", "INDEX", "dog", "-k", "0"], "-k"),
        (["search", "INDEX", "dog", "-k", "9999"], "k must be"),
        (["index", "build", "nothing.parquet", "-o", "x.harken"], "nothing.parquet: there is no such file"),
        (["embed", "EMPTY", "-o", "v.parquet"], "holds no sound file"),
        (["embed", "INDEX", "-o", "no/folder/v.parquet"], "there is no folder"),
        (["embed", "-o", "v.parquet"], "sources"),
        (["info", "nothing"], "nothing: there is no such file"),
        (["info", "EMPTY"], "is a folder without"),
        (["bark"], "bark"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_told_in_words_with_exit_code_2(index, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"INDEX": str(index), "EMPTY": str(tmp_path / "empty")}
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2 and reason in result.stderr and "Traceback" not in result.output
    assert not result.stdout


def test_info_says_what_a_thing_is(index, sounds, tmp_path):
    assert lines(run("info", index, "--json"))[0] | {"fingerprint": ""} == {
        "kind": "index",
        "vectors": 3,
        "dim": 32,
        "dtype": "float32",
        "columns": "duration_s float",
        "fingerprint": "",
    }
    assert run("index", "info", index).stdout == run("info", index).stdout
    sound = lines(run("info", sounds / "deep" / "rain.flac", "--json"))[0]
    assert sound["kind"] == "sound" and sound["seconds"] == 0.2 and sound["rate_hz"] == 16000
    assert run("info", sounds / "notes.txt").exit_code == 2
    assert "3" in run("info", tmp_path / "v.parquet").stdout


def test_recipes_are_listed():
    result = run("recipes", "--json")
    listed = {row["recipe"]: row for row in lines(result)}
    assert {"harken-mini", "oea-qwen3b", "alm2vec", "robust-atr", "aurola-rerank"} <= set(listed)
    assert listed["oea-qwen3b"]["gives"] == "mean" and "P(Yes)" in listed["aurola-rerank"]["gives"]
    assert all(row["source"] for row in listed.values())


def test_demo_answers_every_query(loaded):
    result = run("demo", "--json")
    assert result.exit_code == 0, result.output
    hits = [line for line in lines(result) if "query" in line]
    counts = [line for line in lines(result) if "captions" in line]
    assert len(counts) == 1 and counts[0]["in the first 1"] <= counts[0]["in the first 10"] <= counts[0]["captions"]
    assert {hit["query"] for hit in hits} == {*demo.QUERIES, "dog_bark.ogg"} and len(hits) == 7 * demo.TOP
    assert all(hit["caption"] for hit in hits)
    assert not any(hit["query"] == hit["clip"] for hit in hits)


def test_a_module_of_commands_that_cannot_be_imported_is_named_and_the_others_work(monkeypatch, capsys):
    broken = EntryPoint("own", "harken_no_such_module.commands", "harken.commands")
    monkeypatch.setattr("harken.engine.cli.entry_points", lambda group: [broken])
    done = CliRunner().invoke(application(), ["recipes"])
    assert done.exit_code == 0 and "harken-mini" in done.output
    assert "the commands of harken_no_such_module.commands are left out: ModuleNotFoundError" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from harken.engine.cli import application; application();"
        "print([m for m in ('torch', 'pyarrow', 'soundfile', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
