"""The library as a C++ program meets it: its own tests, what it exports and needs, and examples built against an install."""

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.engine.export.targets import export

from .. import tiny
from ..engine.export import make
from .conftest import ROOT, run
from .test_bundle import with_known_split

pytestmark = pytest.mark.timeout(1500)


def test_its_own_tests_pass(built):
    print(run("ctest", "--test-dir", built, "--output-on-failure"))


def test_one_version_everywhere(built, installed):
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    header = (ROOT / "csrc" / "include" / "harken" / "version.h").read_text()
    parts = [re.search(rf"HARKEN_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert ".".join(parts) == version
    pc = next(installed.rglob("harken.pc"))
    assert run("pkg-config", "--modversion", "harken", PKG_CONFIG_PATH=str(pc.parent)).strip() == version


def test_exports_its_c_interface_and_nothing_else(built):
    symbols = run("nm", "-D", "--defined-only", built / "libharken.so").split("\n")
    names = {line.split()[2] for line in symbols if line.strip()}
    declared = set(re.findall(r"\b(harken_\w+)\(", (ROOT / "csrc/include/harken/harken.h").read_text()))
    assert names == declared


def test_needs_only_the_system_and_is_small(built):
    needed = set(re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", built / "libharken.so")))
    assert needed <= {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
    stripped = built / "stripped.so"
    run("strip", "-o", stripped, built / "libharken.so")
    assert stripped.stat().st_size < 3_000_000


def test_header_is_c(installed, tmp_path):
    source = tmp_path / "c.c"
    source.write_text("#include <harken/harken.h>\nint main(void) { return harken_version() != HARKEN_VERSION; }\n")
    pc = next(installed.rglob("harken.pc"))
    flags = run("pkg-config", "--cflags", "--libs", "harken", PKG_CONFIG_PATH=str(pc.parent)).split()
    run("cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", source, *flags, "-o", tmp_path / "c")
    run(tmp_path / "c", LD_LIBRARY_PATH=str(pc.parents[1]))


def test_an_index_of_another_model_is_refused(built, model, tmp_path):
    import harken

    made, bundle = model
    embedder = harken.load(made.folder, adapter=made.adapter, recipe=made.recipe, device="cpu", dtype="float32")
    vectors = embedder.encode_text(["rain", "a dog", "\N{BELL}"])
    other = replace(embedder.fingerprint, dtype="bfloat16")
    library = ctypes.CDLL(str(built / "libharken.so"))
    library.harken_last_error.restype = library.harken_index_row_name.restype = ctypes.c_char_p
    handle = ctypes.c_void_p()
    assert library.harken_model_load(str(bundle).encode(), None, ctypes.byref(handle)) == 0
    answers = {}
    for name, fingerprint in (("own", embedder.fingerprint), ("other", other), ("unknown", None)):
        folder = tmp_path / f"{name}.harken"
        harken.Index.build(vectors, ids=["r", "d", "b"], fingerprint=fingerprint).save(folder)
        index = ctypes.c_void_p()
        assert library.harken_index_open(str(folder).encode(), 1, ctypes.byref(index)) == 0
        answers[name] = library.harken_index_check_model(index, handle)
        library.harken_index_free(index)
    library.harken_model_free(handle)
    assert answers == {"own": 0, "other": 5, "unknown": 0}
    assert other.id in library.harken_last_error().decode()


@pytest.fixture(scope="module")
def examples(installed, tmp_path_factory) -> Path:
    """The examples copied out of the checkout and built against the installed package."""
    folder = tmp_path_factory.mktemp("examples")
    for source in (ROOT / "csrc" / "examples").iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={installed}", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", folder / "build")
    return folder / "build"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(4):
        soundfile.write(folder / f"{i}.wav", tiny.wave(16000 * (i + 1), seed=i), 16000)
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model and its bundle."""
    folder = tmp_path_factory.mktemp("model")
    made = with_known_split(make.mini(folder))
    return made, export(out=folder / "bundle", to="bundle", **made.args)


def test_search_example_ranks_like_python(examples, sounds, model):
    import harken

    made, bundle = model
    done = subprocess.run(
        [examples / "search", bundle, sounds, "a dog barks", "4"], capture_output=True, text=True, check=True
    )
    assert "broken.wav" in done.stderr
    got = [line.split() for line in done.stdout.splitlines()]
    embedder = harken.load(made.folder, adapter=made.adapter, recipe=made.recipe, device="cpu", dtype="float32")
    paths = [str(sounds / f"{i}.wav") for i in range(4)]
    scores = embedder.encode_audio(paths) @ embedder.encode_text(["a dog barks"])[0]
    order = np.argsort(-scores)
    assert [path for _, path in got] == [paths[i] for i in order]
    np.testing.assert_allclose([float(score) for score, _ in got], scores[order], atol=2e-4)


def test_stream_example_names_a_sentence_for_each_second(examples, sounds, model):
    out = run(examples / "stream", model[1], sounds / "3.wav", "a dog barks", "rain")
    lines = out.splitlines()
    assert len(lines) == 4 and all(line.endswith(("a dog barks", "rain")) for line in lines)


@pytest.mark.parametrize("program", ["search", "stream"])
def test_examples_say_what_is_wrong(examples, sounds, program):
    done = subprocess.run([examples / program, "/nowhere", sounds, "x"], capture_output=True, text=True)
    assert done.returncode == 1 and "manifest.json" in done.stderr
    assert subprocess.run([examples / program], capture_output=True).returncode == 2
