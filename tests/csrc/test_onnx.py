"""libharken with its network in ONNX Runtime gives the vectors of its own code and of Python."""

import ctypes
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import harken
from harken import csrc, errors
from harken.bench.csrc import encode, footprint
from harken.bench.report.collect import read_result
from harken.bench.report.tables import markdown
from harken.engine.export.targets import export
from harken.engine.recipes import get_recipe

from .. import tiny
from ..engine.export import make
from ..tolerances import VECTOR_BUNDLE
from .test_bundle import NUM_SAMPLES, TEXTS, check_same, with_known_split

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
for package in ("onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed")
pytestmark = pytest.mark.timeout(1500)

LIBRARY = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"), None)
if LIBRARY is None:
    pytest.skip("this onnxruntime brings no libonnxruntime.so", allow_module_level=True)


def one_layer(made, folder):
    """The same kind of model with one layer, which is exported in a fraction of the time."""
    source = make.shallow(folder / "model", made.folder)
    return make.Model(source, make.lora(source, folder / "lora"), made.recipe)


def exported(made, folder, **changes):
    """(bundle, graphs) of a model."""
    args = {**made.args, **changes}
    return tuple(export(out=folder / target, to=target, **args) for target in ("bundle", "onnx"))


def in_onnxruntime(graphs):
    return {"onnx_folder": str(graphs), "onnxruntime_library": str(LIBRARY)}


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    made = with_known_split(one_layer(make.mini(folder / "deep"), folder))
    return made, *exported(made, folder)


def test_whole_clips_mean_and_heads(core, mini):
    made, bundle, graphs = mini
    model = check_same(core, made, bundle, **in_onnxruntime(graphs))
    assert model.runner == f"onnxruntime {onnxruntime.__version__}"
    own = core.Model(str(bundle))
    assert own.runner == "harken"
    clips = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(NUM_SAMPLES)]
    np.testing.assert_allclose(model.encode_audio(clips), own.encode_audio(clips), atol=VECTOR_BUNDLE)
    np.testing.assert_allclose(model.encode_text(TEXTS), own.encode_text(TEXTS), atol=VECTOR_BUNDLE)


def test_windows_and_pooled_content(core, tmp_path):
    made = with_known_split(one_layer(make.omni(tmp_path / "deep"), tmp_path))
    recipe = replace(get_recipe("omni-embed-nemotron"), backbones=("qwen2_5_omni",), pooling="mean-content")
    bundle, graphs = exported(made, tmp_path, recipe=recipe)
    check_same(core, made, bundle, recipe, **in_onnxruntime(graphs))


def test_many_callers(core, mini):
    _, bundle, graphs = mini
    model = core.Model(str(bundle), num_threads=2, **in_onnxruntime(graphs))
    want, differ = model.encode_text(TEXTS), []

    def call():
        for _ in range(5):
            differ.append(np.abs(model.encode_text(TEXTS) - want).max())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differ) == 15 and max(differ) <= VECTOR_BUNDLE


def test_the_environment_names_the_library(core, mini, monkeypatch):
    _, bundle, graphs = mini
    monkeypatch.setenv("HARKEN_ONNXRUNTIME", str(LIBRARY))
    assert core.Model(str(bundle), onnx_folder=str(graphs)).runner.startswith("onnxruntime")
    monkeypatch.setenv("HARKEN_ONNXRUNTIME", "/nowhere/libonnxruntime.so")
    with pytest.raises(errors.BackendError, match="/nowhere/libonnxruntime.so.*pip install onnxruntime"):
        core.Model(str(bundle), onnx_folder=str(graphs))


def test_options_of_an_older_program_are_understood(built, mini):
    """A program that was compiled before the options had these fields."""
    _, bundle, _ = mini
    library = ctypes.CDLL(str(built / "libharken.so"))
    library.harken_model_runner.restype = library.harken_last_error.restype = ctypes.c_char_p
    library.harken_model_runner.argtypes = library.harken_model_free.argtypes = [ctypes.c_void_p]
    handle = ctypes.c_void_p()
    # What stands past struct_size is not the program's to give.
    options = (ctypes.c_uint32 * 8)(12, 1, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    status = library.harken_model_load(str(bundle).encode(), options, ctypes.byref(handle))
    assert status == 0, library.harken_last_error()
    assert library.harken_model_runner(handle) == b"harken"
    library.harken_model_free(handle)


def damaged(graphs, folder):
    """A copy to be spoilt."""
    return Path(shutil.copytree(graphs, folder / "graphs"))


def test_graphs_of_another_model_are_refused(core, mini, tmp_path):
    made, bundle, graphs = mini
    other = export(out=tmp_path / "half", to="bundle", dtype="float16", **made.args)
    with pytest.raises(errors.FingerprintError, match="dtype is float32, wanted float16 weights"):
        core.Model(str(other), **in_onnxruntime(graphs))
    with pytest.raises(errors.FileFormatError, match="no manifest of an export to ONNX"):
        core.Model(str(bundle), **in_onnxruntime(bundle))


def test_damaged_graphs_are_refused_by_name(core, mini, tmp_path):
    _, bundle, graphs = mini
    spoilt = damaged(graphs, tmp_path)
    (spoilt / "embedder.onnx").write_bytes(b"no graph")
    with pytest.raises(errors.ModelError, match="embedder.onnx"):
        core.Model(str(bundle), **in_onnxruntime(spoilt))
    (spoilt / "audio_tower.onnx").unlink()
    with pytest.raises(errors.HarkenError, match="audio_tower.onnx: is no file"):
        core.Model(str(bundle), **in_onnxruntime(spoilt))
    # One that answers, but something else than its name says.
    shutil.copy(graphs / "audio_tower.onnx", spoilt / "audio_tower.onnx")
    shutil.copy(graphs / "audio_tower.onnx", spoilt / "embedder.onnx")
    model = core.Model(str(bundle), **in_onnxruntime(spoilt))
    with pytest.raises(errors.BackendError, match="embedder.onnx"):
        model.encode_text(["a"])


@pytest.fixture(scope="module")
def exports(mini, tmp_path_factory):
    """What the benches of the C++ core take: a bundle of each dtype, and the graphs."""
    made, bundle, graphs = mini
    folder = tmp_path_factory.mktemp("exports")
    shutil.copytree(graphs, folder / "onnx")
    shutil.copytree(bundle, folder / "float32")
    encode.make_exports(str(made.folder), made.recipe, folder, adapter=str(made.adapter))
    return folder


@pytest.fixture
def bench(core, monkeypatch):
    """encode.main on the core as it was built just now, in this process."""
    monkeypatch.setattr(csrc, "core", lambda: core)
    monkeypatch.setattr(encode, "with_threads", lambda _, given, threads: encode.main([*given, "--threads", "1"]))
    return encode.main


def test_every_rival_of_the_bench_agrees(bench, mini, exports, tmp_path):
    made, _, _ = mini
    given = ["--model", str(made.folder), "--adapter", str(made.adapter), "--recipe", made.recipe, "--threads", "1"]
    given += ["--exports", str(exports), "--seconds", "0.5", "--repeats", "1"]
    bench([*given, "--out", str(tmp_path / "r.json")])
    result = read_result(tmp_path / "r.json")
    assert result.settings["failed"] == {} and set(result.settings["absent"]) <= {"openvino"}
    ways = {"torch", "onnxruntime", "openvino", "libharken in onnxruntime", *(f"libharken {d}" for d in encode.DTYPES)}
    for what in ("a sound of 0.5 s", "a sentence", "16 sentences"):
        assert {row["way"] for row in result.rows if row["input"] == what} == ways - set(result.settings["absent"])
    assert all(0 < row["ms_min"] <= row["ms_median"] and row["cosine"] > 0.99 for row in result.rows)
    assert "libharken in onnxruntime" in markdown([result])


def test_without_the_export_the_bench_names_what_it_cannot_run(bench, mini, exports, tmp_path):
    made, _, _ = mini
    for dtype in encode.DTYPES:
        (tmp_path / dtype).symlink_to(exports / dtype)
    embedder = harken.load(made.folder, adapter=made.adapter, recipe=made.recipe, device="cpu", dtype="float32")
    ways = encode.find_ways(embedder, tmp_path, 1)
    assert set(ways.absent) == {"onnxruntime", "openvino", "libharken in onnxruntime"}
    assert set(ways.found) == {"torch", *(f"libharken {dtype}" for dtype in encode.DTYPES)}


def test_a_program_in_c_tells_what_it_takes(built, exports, tmp_path):
    rows = {row["what"]: row for row in footprint.c_programs(built / "libharken.so", exports, tmp_path)}
    assert set(rows) == {"C, libharken in onnxruntime", *(f"C, libharken {dtype}" for dtype in encode.DTYPES)}
    own, other = rows["C, libharken float32"], rows["C, libharken in onnxruntime"]
    assert 0 < own["private_bytes"] <= own["resident_bytes"] < other["resident_bytes"]
    assert other["library_bytes"] > own["library_bytes"] > 100_000
    with pytest.raises(errors.BackendError, match="manifest.json"):
        footprint.c_programs(built / "libharken.so", tmp_path, tmp_path)
