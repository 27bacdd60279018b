"""The fast path on a GPU: half precision, CUDA graphs, compiled layers, 8-bit layers; all against plain float32 there.

Models are toys whose heads have widths that the varlen kernel takes.
"""

import numpy as np
import pytest
import torch

from harken.bench.latency.architectures import ARCHS, build
from harken.bench.latency.encode import smallest_cosine
from harken.engine.models.transfer import Samples, put, uploaded

from .. import tiny, tolerances

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the fast path cannot run")
CUDA = torch.device("cuda")
LENGTHS = [480, 3200, 16000, 16000, 48007, 8005, 160001]
TEXTS = ["a dog barks", "rain", "music plays while people talk over it in a large hall"]
CLIPS = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module", params=ARCHS)
def made(request):
    return build(request.param, device=CUDA, dtype=torch.float32, tiny=True)


@pytest.fixture(scope="module")
def exact(made):
    model = made.embedder("float32")
    return model.encode_audio(CLIPS), model.encode_text(TEXTS)


def agree(model, exact, least):
    audio, text = exact
    # A graph is recorded when its bucket comes again, and then replayed.
    for _ in range(3):
        assert smallest_cosine(model.encode_audio(CLIPS), audio) > least
        assert smallest_cosine(model.encode_text(TEXTS), text) > least


def test_float32_equals_transformers(made, exact):
    rival = made.rival(made.embedder("float32"))
    if rival is None:
        pytest.skip("transformers has no class of this model")
    want = np.concatenate([rival.encode([clip], head=False) for clip, _ in CLIPS])
    assert np.abs(exact[0] - want).max() < tolerances.VECTOR_CUDA_FP32


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "graphs"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(made, exact, dtype, graphs):
    agree(made.embedder(dtype, graphs=graphs), exact, tolerances.COSINE_BF16)


def test_replays_of_one_graph_on_other_cuts(made):
    """The same bucket again and again with other lengths: nothing of the recorded batch stays."""
    plain, graphs = made.embedder("bfloat16", graphs=False), made.embedder("bfloat16", graphs=True)
    for lengths in ([9600, 12800], [12800, 9600], [6400, 16000], [22400], [3200] * 6, [9600, 12800]):
        clips = [(tiny.wave(n, seed=len(lengths)), 16000) for n in lengths]
        assert smallest_cosine(graphs.encode_audio(clips), plain.encode_audio(clips)) > tolerances.COSINE_BF16
    assert smallest_cosine(graphs.encode_text(TEXTS), plain.encode_text(TEXTS)) > tolerances.COSINE_BF16


def test_company_changes_nothing(made):
    model = made.embedder("bfloat16")
    together = model.encode_audio(CLIPS)
    alone = np.concatenate([model.encode_audio([clip]) for clip in CLIPS])
    assert smallest_cosine(together, alone) > tolerances.COSINE_BF16


def test_compiled_layers_are_close(made, exact):
    agree(made.embedder("bfloat16", graphs=False, compile=True), exact, tolerances.COSINE_BF16)
    agree(made.embedder("bfloat16", graphs=True, compile=True), exact, tolerances.COSINE_BF16)


def test_eight_bits_are_close(made, exact):
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no float8 products")
    agree(made.embedder("float8"), exact, tolerances.COSINE_FP8)


def test_what_is_uploaded_arrives():
    batches = [[tiny.wave(n + i) for i in range(3)] for n in (100, 5000, 40)]
    for samples, clips in zip(uploaded(batches, CUDA), batches):
        assert torch.equal(samples.samples_N.cpu(), torch.from_numpy(np.concatenate(clips)))
    rows = np.arange(1000)
    assert (
        torch.equal(put(rows, CUDA).cpu(), torch.from_numpy(rows)) and Samples.of(batches[0], CUDA).cu_samples[1] == 100
    )
