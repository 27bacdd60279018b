"""AOTInductor: compiled packages give the Embedder's vectors at lengths they were not compiled with, without harken's code."""

import shutil

import numpy as np
import pytest
import torch
import torch._inductor.config

import harken
from harken.engine.export import manifest
from harken.engine.export.check import check_export
from harken.engine.export.graph_inputs import prefill_inputs, tower_inputs
from harken.engine.export.standalone.run_graphs import Graphs
from harken.engine.export.targets import export
from harken.errors import InputError

from ... import tiny, tolerances
from . import make
from .test_graphs import LENGTHS, TEXTS


@pytest.fixture(scope="module")
def compiled(mini, tmp_path_factory):
    """The exported folder and the Embedder that it must equal; one layer, because a compiler is slow."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler")
    place = tmp_path_factory.mktemp("aoti")
    model = make.shallow(place / "model", mini.folder)
    adapter = make.lora(model, place / "lora")
    # The code around the kernels unoptimised: half the compiler's time. Headers compiled first pay off after many graphs.
    quickly = {"aot_inductor.compile_wrapper_opt_level": "O0", "aot_inductor.precompile_headers": False}
    with torch._inductor.config.patch(quickly):
        out = export(model, place / "out", to="aoti", adapter=adapter, recipe="harken-mini", device="cpu")
    return out, harken.load(model, recipe="harken-mini", adapter=adapter, device="cpu")


def test_packages_equal_the_embedder_at_any_batch_and_length(compiled):
    folder, model = compiled
    graphs = Graphs(folder)
    as_arrays = lambda inputs: {key: tensor.numpy() for key, tensor in inputs.items()}
    for lengths in (LENGTHS, LENGTHS[2:3]):
        clips = [tiny.wave(n, i) for i, n in enumerate(lengths)]
        heard, _ = tower_inputs(model.model, clips)
        rows = torch.from_numpy(graphs.run("audio_tower", as_arrays(heard))["audio_rows"])
        batch = prefill_inputs([model.audio_prompt(len(c)) for c in clips], rows, model.model.width, contents=False)
        got = graphs.run("embedder", as_arrays(batch))["audio_vectors"]
        assert np.abs(got - model.encode_audio([(clip, 16000) for clip in clips])).max() < tolerances.VECTOR_FP32
    for texts in (TEXTS, TEXTS[:1]):
        batch = prefill_inputs([model.text_prompt(t) for t in texts], None, model.model.width, contents=False)
        got = graphs.run("embedder", as_arrays(batch))["text_vectors"]
        assert np.abs(got - model.encode_text(texts)).max() < tolerances.VECTOR_FP32


def test_the_self_test_passes_and_a_device_without_packages_is_named(compiled):
    folder, _ = compiled
    rows = check_export(folder)
    assert len(rows) == 6 and all(row["ok"] for row in rows)
    assert manifest.read_manifest(folder)["graphs"]["embedder"]["files"] == ["embedder.cpu.pt2"]
    with pytest.raises(SystemExit, match="embedder was not compiled for cuda"):
        Graphs(folder, "cuda").run("embedder", {})


def test_devices_that_are_not_there_are_refused(mini, tmp_path):
    with pytest.raises(InputError, match="device must be cpu, cuda or cuda:N, got 'tpu'"):
        export(**mini.args, to="aoti", out=tmp_path / "out", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="sees no CUDA device"):
            export(**mini.args, to="aoti", out=tmp_path / "out", device="cuda")
    assert not list(tmp_path.iterdir())
