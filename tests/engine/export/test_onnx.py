"""ONNX: in ONNX Runtime the graphs give the Embedder's vectors at lengths they were not exported with; TensorRT's parser
takes them; the programs beside them work without harken."""

import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import harken
from harken.engine.export import manifest
from harken.engine.export.check import check_export
from harken.engine.export.graph_inputs import prefill_inputs, tower_inputs
from harken.engine.export.standalone.run_graphs import Graphs
from harken.engine.export.targets import export
from harken.engine.models.packed import Segments
from harken.engine.models.transfer import Samples
from harken.errors import FileFormatError, InputError, ModelError

from ... import tiny, tiny_clap, tiny_midasheng, tolerances
from . import make
from .test_graphs import LENGTHS, TEXTS

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import onnx  # noqa: E402


@pytest.fixture(scope="module")
def shallow(omni, mini, tmp_path_factory):
    """name -> arguments of a model with one layer."""
    place = tmp_path_factory.mktemp("shallow")

    def of(name, source, recipe, adapted):
        folder = make.shallow(place / name, source)
        return {
            "model": folder,
            "adapter": make.lora(folder, place / f"{name}-lora") if adapted else None,
            "recipe": recipe,
        }

    return {
        "omni": of("omni", omni.folder, omni.recipe, True),
        "mini": of("mini", mini.folder, mini.recipe, True),
        "dasheng": of("dasheng", tiny_midasheng.midasheng(place / "deep-mid"), "alm2vec", False),
        "atr": of("atr", tiny_clap.robust_atr(place / "deep-atr"), "robust-atr", False),
    }


@pytest.fixture(scope="module")
def exported(shallow, tmp_path_factory):
    """name -> the exported folder and the Embedder that it must equal, made once."""
    place, made = tmp_path_factory.mktemp("onnx"), {}

    def get(name):
        if name not in made:
            args = shallow[name]
            made[name] = (
                export(**args, to="onnx", out=place / name),
                harken.load(args["model"], recipe=args["recipe"], adapter=args["adapter"], device="cpu"),
            )
        return made[name]

    return get


def numpy_of(inputs):
    return {key: tensor.numpy() for key, tensor in inputs.items()}


@pytest.mark.parametrize("name", ["omni", "mini", "dasheng"])
def test_onnxruntime_equals_the_embedder_at_any_batch_and_length(name, exported):
    folder, model = exported(name)
    graphs = Graphs(folder)
    for lengths in (LENGTHS, LENGTHS[2:3]):
        clips = [tiny.wave(n, i) for i, n in enumerate(lengths)]
        heard, _ = tower_inputs(model.model, clips)
        rows = graphs.run("audio_tower", numpy_of(heard))["audio_rows"]
        prompts = [model.audio_prompt(len(clip)) for clip in clips]
        batch = prefill_inputs(prompts, torch.from_numpy(rows), model.model.width, contents=False)
        out = graphs.run("embedder", numpy_of(batch))
        got = out.get("audio_vectors", out.get("vectors"))
        assert np.abs(got - model.encode_audio([(clip, 16000) for clip in clips])).max() < tolerances.VECTOR_FP32
    for texts in (TEXTS, TEXTS[:1]):
        batch = prefill_inputs([model.text_prompt(t) for t in texts], None, model.model.width, contents=False)
        out = graphs.run("embedder", numpy_of(batch))
        got = out.get("text_vectors", out.get("vectors"))
        assert np.abs(got - model.encode_text(texts)).max() < tolerances.VECTOR_FP32


def test_two_encoders_in_onnxruntime(exported):
    folder, model = exported("atr")
    graphs = Graphs(folder)
    clips = [tiny_clap.wave(n, i) for i, n in enumerate((90000, 400001, 480000))]
    features = model.model.tower.features(*Samples.of(clips, model.model.device)).features_FM
    chunks = graphs.run("audio_tower", {"mel": features.unflatten(0, (3, -1)).numpy()})["vectors"]
    pooled = graphs.run("chunk_pool", {"chunk_vectors": chunks[None], "counts": np.array([3])})["vectors"]
    want = model.encoder.pool_pieces(torch.from_numpy(chunks), Segments.of([3])).numpy()
    assert np.abs(pooled - want).max() < tolerances.VECTOR_FP32
    single = np.concatenate(
        [graphs.run("chunk_pool", {"chunk_vectors": c[None, None], "counts": np.array([1])})["vectors"] for c in chunks]
    )
    assert np.abs(single - model.encode_audio([(clip, 48000) for clip in clips])).max() < tolerances.VECTOR_FP32
    ids = np.array([model.text_prompt(TEXTS[0]).token_ids])
    read = graphs.run("text_tower", {"token_ids": ids, "lengths": np.array([ids.shape[1]])})["vectors"]
    assert np.abs(read - model.encode_text(TEXTS[:1])).max() < tolerances.VECTOR_FP32


def test_files_are_what_the_manifest_says(exported):
    folder, _ = exported("mini")
    readme = (folder / "README.md").read_text()
    for name, facts in manifest.read_manifest(folder)["graphs"].items():
        graph = onnx.load(folder / facts["file"], load_external_data=False)
        assert graph.opset_import[0].version == 20
        assert [value.name for value in graph.graph.input] == list(facts["inputs"])
        assert [value.name for value in graph.graph.output] == facts["outputs"]
        for value, described in zip(graph.graph.input, facts["inputs"].values()):
            dims = value.type.tensor_type.shape.dim
            assert [bool(dim.dim_param) for dim in dims] == [isinstance(size, str) for size in described["shape"]]
        weights = [tensor for tensor in graph.graph.initializer if tensor.external_data]
        assert {entry.value for t in weights for entry in t.external_data if entry.key == "location"} == {
            f"{name}.onnx.data"
        }
        onnx.checker.check_model(str(folder / facts["file"]))
        assert all(f"- {key}" in readme for key in facts["inputs"])
    script = (folder / "build_tensorrt.sh").read_text()
    assert "--minShapes=token_ids:1x2,audio_rows:1x48,audio_index:1x2,lengths:1" in script
    assert subprocess.run(["sh", "-n", folder / "build_tensorrt.sh"]).returncode == 0


def test_the_self_test_passes_and_notices_a_change(exported, tmp_path, monkeypatch, capsys):
    folder, _ = exported("mini")
    rows = check_export(folder)
    assert len(rows) == 6 and all(row["ok"] and row["cosine"] > 0.99999 for row in rows)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(sys, "argv", ["run_graphs.py", "--selftest"])

    def run():
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(tmp_path / "run_graphs.py"), run_name="__main__")
        return stop.value.code, capsys.readouterr().out

    code, said = run()
    assert code == 0 and "self-test passed" in said
    golden = load_file(tmp_path / "golden.safetensors")
    golden["text.0.vector"] = golden["text.1.vector"].clone()
    save_file(golden, tmp_path / "golden.safetensors")
    code, said = run()
    assert code == 1 and "text.0" in said and "SELF-TEST FAILED" in said
    with pytest.raises(FileFormatError, match="golden.safetensors"):
        check_export(tmp_path)


def test_half_precision_keeps_float32_outside_and_stays_near(shallow, tmp_path):
    folder = export(**shallow["mini"], to="onnx", out=tmp_path / "half", dtype="float16")
    facts = manifest.read_manifest(folder)["graphs"]["embedder"]["inputs"]
    assert facts["audio_rows"]["dtype"] == "float32"
    rows = check_export(folder)
    assert all(row["ok"] for row in rows) and any(row["cosine"] < 0.9999999 for row in rows)


def test_bad_input_leaves_nothing(mini, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="got 'float8'"):
        export(**mini.args, to="onnx", out=tmp_path / "out", dtype="float8")
    with pytest.raises(ModelError, match="is an adapter; wanted"):
        export(mini.adapter, tmp_path / "out", to="onnx", recipe="harken-mini")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'needs onnx and onnxscript: pip install "harken\[export\]"'):
        export(**mini.args, to="onnx", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def parse(path):
    """The parser's errors; none where it takes the file. TensorRT for RTX cards has the parser of TensorRT."""
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="tensorrt-rtx-cu13-bindings and -libs are not installed")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    fine = parser.parse_from_file(str(path))
    errors = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
    assert fine == (not errors)
    return errors, trt, builder, network


@pytest.mark.parametrize("name", ["omni", "mini", "dasheng"])
def test_tensorrt_parses_every_graph(name, exported):
    folder, _ = exported(name)
    for file in sorted(folder.glob("*.onnx")):
        errors, _, _, network = parse(file)
        assert errors == [] and network.num_outputs >= 1


def test_tensorrt_parses_two_encoders(exported):
    for file in sorted(exported("atr")[0].glob("*.onnx")):
        assert parse(file)[0] == []


def test_tensorrt_builds_the_tower_ahead_of_time(exported):
    folder, _ = exported("omni")
    _, trt, builder, network = parse(folder / "audio_tower.onnx")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    line = next(
        text for text in (folder / "build_tensorrt.sh").read_text().split("trtexec") if "audio_tower.onnx" in text
    )
    bounds = {}
    for which in ("min", "opt", "max"):
        shapes = line.split(f"--{which}Shapes=")[1].split()[0]
        for item in shapes.split(","):
            key, dims = item.split(":")
            bounds.setdefault(key, []).append(tuple(map(int, dims.split("x"))))
    for key, shapes in bounds.items():
        profile.set_shape(key, *shapes)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None and engine.nbytes > 10_000


def broken(folder, tmp_path, change):
    """A graph with one fault, its weights inside."""
    graph = onnx.load(folder / "audio_tower.onnx")
    change(graph.graph)
    onnx.save(graph, tmp_path / "broken.onnx")
    return tmp_path / "broken.onnx"


def unknown_operator(graph):
    next(node for node in graph.node if node.op_type == "Conv").op_type = "Convolve"


def wrong_product(graph):
    product = next(node for node in graph.node if node.op_type in ("MatMul", "Gemm"))
    weight = next(tensor for tensor in graph.initializer if tensor.name in product.input and len(tensor.dims) == 2)
    wrong = np.ones((weight.dims[0] + 1, weight.dims[1] + 1), np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(wrong, weight.name))


def unsupported_operator(graph):
    graph.node.append(onnx.helper.make_node("Unique", [graph.output[0].name], ["only"], axis=0))
    graph.output.append(onnx.helper.make_tensor_value_info("only", onnx.TensorProto.FLOAT, [None, 48]))


@pytest.mark.parametrize("change", [unknown_operator, wrong_product, unsupported_operator])
def test_tensorrt_refuses_broken_graphs(change, exported, tmp_path):
    folder, _ = exported("omni")
    errors, *_ = parse(broken(folder, tmp_path, change))
    assert errors
