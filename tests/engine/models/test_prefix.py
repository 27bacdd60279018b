"""Continuations of shared prefixes against the plain packed decoder on the whole sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.models.load import load_model
from harken.engine.models.packed import Segments
from harken.engine.models.prefix import dense, extend, kv_bytes_per_token, prefill
from harken.kernels.merge_attention import merge_attention

from ... import tiny, tolerances


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def decoder(request, tmp_path_factory):
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp(request.param), text=request.param)
    return load_model(folder, dtype=torch.float32, device="cpu").decoder


@torch.inference_mode()
def shared_and_plain(decoder, prefix_lengths, suffix_lengths):
    """Last rows with prefixes shared, and of every whole sequence by itself."""
    generator = torch.Generator().manual_seed(3)
    rows = lambda n: decoder.embed(torch.randint(0, 300, (n,), generator=generator))
    heads = [rows(n) for n in prefix_lengths]
    tails = [[rows(n) for n in lengths] for lengths in suffix_lengths]
    prefixes = prefill(decoder, torch.cat(heads), Segments.of(prefix_lengths))
    flat = [tail for group in tails for tail in group]
    got = extend(
        decoder,
        torch.cat(flat),
        Segments.of([len(tail) for tail in flat]),
        prefixes,
        [len(group) for group in tails],
    )
    wholes = [torch.cat([head, tail]) for head, group in zip(heads, tails) for tail in group]
    want = torch.cat([decoder(whole, Segments.of([len(whole)]))[-1:] for whole in wholes])
    return got, want, prefixes


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_grouping_equals_the_whole_sequences(decoder, data):
    prefix_lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    suffixes = st.lists(st.integers(1, 12), min_size=1, max_size=5)
    suffix_lengths = [data.draw(suffixes) for _ in prefix_lengths]
    got, want, _ = shared_and_plain(decoder, prefix_lengths, suffix_lengths)
    assert (got - want).abs().max() < tolerances.HIDDEN_FP32


def test_a_kept_prefix_takes_the_bytes_told_beforehand(decoder):
    _, _, prefixes = shared_and_plain(decoder, [17, 5], [[2], [3]])
    per_token = kv_bytes_per_token(decoder.config, torch.float32)
    assert [prefix.num_bytes for prefix in prefixes] == [17 * per_token, 5 * per_token]
    assert all(prefix.kv.untyped_storage().nbytes() == prefix.num_bytes for prefix in prefixes)


def test_merged_halves_are_the_whole_attention():
    generator = torch.Generator().manual_seed(0)
    # Scores up to hundreds: each half's weights overflow unless log-sum-exps are merged.
    q, k, v = (30 * torch.randn(1, n, h, 16, generator=generator) for n, h in ((5, 4), (50, 2), (50, 2)))
    whole, _ = dense(q, k, v, causal=False, scale=0.25)
    halves = [dense(q, k[:, part], v[:, part], causal=False, scale=0.25) for part in (slice(0, 31), slice(31, 50))]
    merged, _ = merge_attention(*(part[0] for half in halves for part in half))
    assert torch.isfinite(merged).all()
    assert (merged - whole[0]).abs().max() <= tolerances.LSE_MERGE * whole.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("causal", [True, False])
def test_rows_in_blocks_are_attended_to_as_in_one(monkeypatch, causal):
    from harken.engine.models import prefix

    generator = torch.Generator().manual_seed(6)
    q, k, v = (torch.randn(2, 50, heads, 8, generator=generator) for heads in (6, 2, 2))
    want = prefix.dense(q, k, v, causal=causal, scale=0.3)
    monkeypatch.setattr(prefix, "MAX_SCORES", 1)
    got = prefix.dense(q, k, v, causal=causal, scale=0.3)
    for blocks, whole in zip(got, want):
        assert blocks.shape == whole.shape
        assert (blocks - whole).abs().max() < tolerances.STATE_INVARIANCE * whole.abs().max()
