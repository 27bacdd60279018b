"""Batches filled up to buckets: nothing of a batch's result changes, with an eager stand-in for recording and replay."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import harken
from harken.engine import graphs
from harken.engine.graphs import Bucket, Captured, can_capture, capture, eager
from harken.engine.lm_encoder import LMEncoder
from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments
from harken.errors import InputError

from .. import tiny, tolerances

LENGTHS = [3200, 16000, 800, 48007]


@pytest.fixture(scope="module", params=["qwen2_audio", "omni"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    return tiny.omni(folder, "thinker") if request.param == "omni" else tiny.qwen2_audio(folder, text="llama")


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_bucket_holds_its_batch_and_little_more(lengths):
    segments = Segments.of(lengths)
    bucket = Bucket.of(segments)
    filled = bucket.fill(segments)
    assert filled.lengths[: len(lengths)] == segments.lengths
    assert (filled.num_rows, len(filled)) == (bucket.num_rows, bucket.num_segments)
    assert filled.max_length <= bucket.max_length
    assert bucket.num_rows - segments.num_rows < max(64, 1 + segments.num_rows / 8)
    # What is baked into a recording is a matter of the bucket alone.
    assert graphs._StaticSegments(filled.lengths).max_length == bucket.max_length


def test_there_are_few_buckets():
    assert len({Bucket.of(Segments.of([n])).num_rows for n in range(1, graphs.MAX_ROWS + 1)}) < 40


@pytest.mark.parametrize("options", [{"causal": True}, {"causal": False}, {"causal": True, "last_only": True}], ids=str)
def test_filled_up_equals_plain(folder, options):
    decoder = load_model(folder, dtype=torch.float32, device="cpu").decoder
    captured = Captured(decoder.forward, eager)
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        for lengths in ([5], [64], [1] * 64, [1] * 40, [30, 1, 300], [7, 7], [200, 9], [320], [5, 3]):
            segments = Segments.of(lengths)
            x = torch.randn(segments.num_rows, decoder.config.width, generator=generator)
            got, want = captured(x, segments, **options), decoder(x, segments, **options)
            assert got.shape == want.shape
            assert (got - want).abs().max() < tolerances.STATE_INVARIANCE * want.abs().max()
    assert len(captured._kept) == 2


def test_what_fills_up_is_never_seen(folder):
    """Inert rows full of rubbish leave the real ones as they are."""
    decoder = load_model(folder, dtype=torch.float32, device="cpu").decoder
    segments = Segments.of([9, 30])
    x = torch.randn(39, decoder.config.width, generator=torch.Generator().manual_seed(4))

    def rubbish(buffer, cut, **options):
        buffer = buffer.clone()
        buffer[39:] = 1e4
        return decoder(buffer, cut, **options)

    with torch.inference_mode():
        captured = Captured(rubbish, eager)
        got = [captured(x, segments, causal=False) for _ in range(2)][1]
        want = decoder(x, segments, causal=False)
    assert (got - want).abs().max() < tolerances.STATE_INVARIANCE * want.abs().max()


def test_what_is_too_long_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(graphs, "MAX_ROWS", 10)
    calls = []
    captured = Captured(lambda x, segments, **options: calls.append(len(x)) or x, eager)
    for n in (11, 11, 10, 10):
        captured(torch.zeros(n, 2), Segments.of([n]))
    assert calls == [11, 11, 10, 64] and not captured.fits(Segments.of([11])) and not captured.fits(Segments.of([]))


def test_recordings_are_made_once_and_bounded(monkeypatch):
    monkeypatch.setattr(graphs, "MAX_KEPT", 2)
    made = []

    def record(run, segments, device):
        made.append(segments.num_rows)
        return eager(run, segments, device)

    captured = Captured(lambda x, segments, **options: x + 1, record)
    for n in (5, 100, 200, 6, 100, 7, 200, 5, 100):
        x = torch.full((n, 3), float(n))
        assert torch.equal(captured(x, Segments.of([n])), x + 1)
    # 64 was used last when 256 came, so 128 was given up and made again.
    assert made == [64, 128, 256, 128]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_whole_model_gives_the_same_vectors(folder, pooling):
    recipe = harken.Recipe(
        name="test",
        source="own",
        backbones=("qwen2_audio", "qwen2_5_omni_thinker"),
        audio_template="<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n",
        text_template="<|im_start|>user\n{text}<|im_end|>\n",
        pooling=pooling,
    )
    clips = [(tiny.wave(n, seed=i), 16000) for i, n in enumerate(LENGTHS)]
    texts = ["a dog", "rain and wind over the sea"]
    plain, filled = (harken.load(folder, recipe=recipe, device="cpu") for _ in range(2))
    assert isinstance(filled.encoder, LMEncoder)
    captured = capture(filled.model, eager)
    filled.encoder = LMEncoder(filled.model, recipe, {}, captured)
    for got, want in (
        (filled.encode_audio(clips), plain.encode_audio(clips)),
        (filled.encode_audio(clips[::-1])[::-1], plain.encode_audio(clips)),
        (filled.encode_text(texts), plain.encode_text(texts)),
        (np.concatenate([filled.encode_audio([clip]) for clip in clips]), plain.encode_audio(clips)),
    ):
        assert np.abs(got - want).max() < tolerances.BATCH_INVARIANCE
    assert captured._kept and filled.model.tower.stack._kept


def attention_by_numbers(q, k, v, segments, *, causal, scale, last_only=False):
    """Attention that knows of a batch's cut only what is on the device, as a recorded kernel does."""
    starts = segments.cu_seqlens(k.device)
    rows = torch.arange(len(k), dtype=torch.int32)
    of_row = torch.bucketize(rows, starts[1:], right=True)
    asking, of_asking = (starts[1:] - 1, torch.arange(len(starts) - 1)) if last_only else (rows, of_row)
    seen = of_asking[:, None] == of_row[None]
    if causal:
        seen &= asking[:, None] >= rows[None]
    per = q.shape[1] // k.shape[1]
    scores = torch.einsum("nhd,mhd->hnm", q, k.repeat_interleave(per, 1)) * scale
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1).nan_to_num(0.0)
    return torch.einsum("hnm,mhd->nhd", weights, v.repeat_interleave(per, 1))


def by_numbers(run, segments, device):
    """A recording in all but speed: made of one cut, replayed for others that only the numbers on the device tell of."""
    static = graphs._StaticSegments(segments.lengths)
    out = run(static)

    def replay(now):
        static.cu_seqlens(device).copy_(now.cu_seqlens(device))
        out.copy_(run(static))
        return out

    return replay


@pytest.mark.parametrize("last_only", [False, True])
def test_a_recording_follows_the_numbers_on_the_device(folder, monkeypatch, last_only):
    model = load_model(folder, dtype=torch.float32, device="cpu")
    cuts = ([50, 60], [60, 50], [110], [1, 2, 100], [90, 9, 1], [128], [65])
    generator = torch.Generator().manual_seed(8)
    x = {cut: torch.randn(sum(cut), model.decoder.config.width, generator=generator) for cut in map(tuple, cuts)}
    with torch.inference_mode():
        run = lambda decoder: {
            cut: decoder(rows, Segments.of(cut), causal=True, last_only=last_only) for cut, rows in x.items()
        }
        want = run(model.decoder)
        captured = Captured(model.decoder.forward, by_numbers)
        run(captured)
        monkeypatch.setattr("harken.engine.models.decoder.packed_attention", attention_by_numbers)
        got = run(captured)
    assert len(captured._kept) == 1
    for cut in want:
        assert (got[cut] - want[cut]).abs().max() < tolerances.HIDDEN_FP32


def test_graphs_want_cuda(folder):
    assert not can_capture(torch.device("cpu"), torch.bfloat16)
    with pytest.raises(InputError, match="graphs=True wants a multimodal LLM on CUDA"):
        harken.load(folder, recipe="qwen2-audio" if "qwen2" in folder.name else "oea-qwen3b", device="cpu", graphs=True)
