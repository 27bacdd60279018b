"""Sounds: heard once, kept within bounds, named by what they are."""

import os

import numpy as np
import soundfile

from harken.engine.audio import Waveform

from ... import tiny
from .conftest import LENGTHS, TEXTS
from .use import close, idle, make


def test_sounds_are_heard_once_and_kept_within_bounds(checkpoint, naive, clips):
    ours = make(checkpoint)
    ours.predict([(text, clip) for text in TEXTS for clip in clips])
    assert ours.work.num_sounds == len(clips)
    assert ours.work.num_audio_tokens == sum(ours.model.tower.num_tokens(n) for n in LENGTHS)
    assert ours.num_cached_bytes == ours.work.num_audio_tokens * ours.model.width * 4
    ours.predict([(text, clip) for text in TEXTS for clip in clips])
    assert ours.work.num_sounds == len(clips)
    forgetful = make(checkpoint, cache_bytes=0)
    for _ in range(2):
        forgetful.predict([(TEXTS[0], clip) for clip in clips])
        idle(forgetful)
    assert forgetful.work.num_sounds == 2 * len(clips) and forgetful.num_cached_bytes == 0


def test_a_file_that_changes_is_heard_again(checkpoint, naive, tmp_path):
    """Even where its size stays."""
    ours, path = make(checkpoint), tmp_path / "clip.wav"
    for seed in (1, 2):
        same = tmp_path / f"{seed}.wav"
        soundfile.write(same, tiny.wave(9000, seed=seed), 16000, subtype="FLOAT")
        path.write_bytes(same.read_bytes())
        os.utime(path, (seed, seed))
        assert close(ours.predict([(TEXTS[0], path)]), naive.score("t2a", TEXTS[0], same))


def test_every_kind_of_source_is_the_same_sound(checkpoint, naive, clips):
    ours, samples = make(checkpoint), tiny.wave(LENGTHS[0], seed=0)
    sources = [clips[0], str(clips[0]), clips[0].read_bytes(), (samples, 16000), Waveform(samples, 16000, "w")]
    sources.append({"array": samples, "sampling_rate": 16000})
    want = naive.score("t2a", TEXTS[1], clips[0])
    assert close(ours.predict([(TEXTS[1], source) for source in sources]), want)
    assert ours.work.num_sounds == 2  # the file, and the samples by their content


def test_stored_audio_tokens_need_no_file(checkpoint, naive, clips, reranker):
    stored = {f"clip-{i}": reranker.audio_tokens(clip) for i, clip in enumerate(clips)}
    ours = make(checkpoint, stored={**stored, "bad": np.zeros((3, 5), np.float32)})
    got = ours.predict([(TEXTS[0], name) for name in stored])
    assert close(got, [naive.score("t2a", TEXTS[0], clip) for clip in clips])
    assert ours.work.num_sounds == 0
    (bad,) = ours.rank(TEXTS[0], ["bad"])
    assert "wanted [n, 48]" in bad.error


def test_kept_candidates_are_read_once_for_every_query(checkpoint, naive, clips):
    ours = make(checkpoint, recipe="aurola-rerank-audio-first", kept_kv_bytes=1 << 26)
    told = sum(ours.kv_bytes(n / 16000) for n in LENGTHS)
    for text in TEXTS:
        got = ours.predict([(text, clip) for clip in clips])
        assert close(got, [naive.score("audio-first", text, clip) for clip in clips])
    assert ours.work.num_prefixes == len(clips)
    assert ours._scorer.kept.num_bytes == told
    small = make(checkpoint, recipe="aurola-rerank-audio-first", kept_kv_bytes=told - 1)
    small.predict([(text, clip) for text in TEXTS for clip in clips])
    assert 0 < small._scorer.kept.num_bytes < told
