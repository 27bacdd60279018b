"""What one call of each of the engine's parts costs, by pytest-benchmark.

    harken bench functions            or   python -P -m pytest bench/functions --benchmark-only

Compare with an earlier run:  --benchmark-autosave, then --benchmark-compare.
"""

import io

import numpy as np
import pytest
import soundfile
import torch

from harken.bench.latency.workload import make_sentences, make_workload
from harken.engine.audio.decode import decode
from harken.engine.audio.resample import resample
from harken.engine.audio.waveform import Waveform
from harken.engine.batching import plan_batches
from harken.engine.rerank.scheduler import Job, Scheduler
from harken.engine.text.tokenizer import Tokenizer
from harken.kernels.logmel import logmel
from harken.kernels.logmel_spec import SPECS
from harken.kernels.pool import pool
from harken.kernels.topk import topk

CLIP = make_workload("10s", 1).clips[0]


@pytest.fixture(scope="session")
def tokenizer():
    from harken.engine.convert.mini import build_mini

    return Tokenizer(build_mini())


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_decode(benchmark, form):
    file = io.BytesIO()
    soundfile.write(file, CLIP, 16000, format=form)
    assert len(benchmark(decode, file.getvalue(), "clip").samples) == len(CLIP)


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_resample(benchmark, rate_hz):
    clip = Waveform(np.resize(CLIP, 10 * rate_hz), rate_hz, "clip")
    assert len(benchmark(resample, clip, 16000).samples) == 160000


def test_logmel(benchmark):
    samples, cu = torch.from_numpy(CLIP), torch.tensor([0, len(CLIP)])
    assert benchmark(logmel, samples, cu, SPECS["whisper-128"]).features_FM.shape == (1000, 128)


def test_pool(benchmark):
    rows, cu = torch.randn(32 * 275, 1024), torch.arange(33) * 275
    assert benchmark(pool, rows, cu, mode="mean").shape == (32, 1024)


@pytest.mark.parametrize("num_queries", [1, 32])
def test_topk(benchmark, num_queries):
    corpus, queries = torch.randn(100_000, 512), torch.randn(num_queries, 512)
    assert benchmark(topk, queries, corpus, 10).ids_QK.shape == (num_queries, 10)


def test_tokenise(benchmark, tokenizer):
    texts = make_sentences(100)
    assert len(benchmark(tokenizer.encode_ids, texts)) == 100


def test_pack(benchmark):
    lengths = np.random.default_rng(0).integers(20, 800, 10_000).tolist()
    assert sum(map(len, benchmark(plan_batches, lengths, 8192))) == 10_000


def test_schedule(benchmark):
    def run():
        scheduler = Scheduler(8192, 8192)
        scheduler.add(Job(pair % 20, 300, 25) for pair in range(1000))
        steps = 0
        while scheduler.next_step():
            steps += 1
        return steps

    assert benchmark(run) > 1
