"""The reranker against transformers pair by pair, whatever else is in flight and however small its memory."""

import asyncio
import random
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.engine.recipes.rerank import TRAINED, get_rerank_recipe
from harken.errors import AudioError, InputError, ModelError

from ... import tiny, tolerances
from .conftest import LENGTHS, TEXTS
from .use import WAIT_S, close, idle, make


def pair(clips, direction, text, clip):
    return (clips[clip], TEXTS[text]) if direction == "a2t" else (TEXTS[text], clips[clip])


@pytest.mark.parametrize("direction", ["a2t", "t2a"])
def test_every_pair_equals_transformers(reranker, naive, clips, direction):
    places = [(text, clip) for clip in range(len(clips)) for text in range(len(TEXTS))]
    got = reranker.predict([pair(clips, direction, text, clip) for text, clip in places])
    want = [naive.score(direction, TEXTS[text], clips[clip]) for text, clip in places]
    assert got.dtype == np.float32 and close(got, want)
    assert np.ptp(want) > 0.1  # not all the same number


def test_the_trained_spelling_and_the_audio_first_order_equal_transformers(checkpoint, naive, clips):
    trained = make(checkpoint, recipe=replace(get_rerank_recipe("aurola-rerank"), instruction=TRAINED))
    assert close(trained.predict([(TEXTS[0], clips[0])]), naive.score("t2a", TEXTS[0], clips[0], TRAINED))
    audio_first = make(checkpoint, recipe="aurola-rerank-audio-first")
    got = audio_first.predict([(text, clip) for clip in clips for text in TEXTS])
    assert close(got, [naive.score("audio-first", text, clip) for clip in clips for text in TEXTS])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8"])
def test_narrow_numbers_move_scores_by_their_rounding(checkpoint, reranker, clips, dtype):
    pairs = [pair(clips, d, t, c) for d in ("a2t", "t2a") for t in range(3) for c in range(3)]
    log_odds = [np.log(p) - np.log1p(-p) for p in (r.predict(pairs) for r in (reranker, make(checkpoint, dtype=dtype)))]
    assert np.abs(log_odds[0] - log_odds[1]).max() < tolerances.LOG_ODDS[dtype]


def test_rank_orders_and_cuts(reranker, naive, clips):
    want = [naive.score("a2t", text, clips[0]) for text in TEXTS]
    ranked = reranker.rank(clips[0], TEXTS, top_k=3)
    assert [r.position for r in ranked] == np.argsort(want)[::-1][:3].tolist()
    assert close([r.score for r in ranked], sorted(want)[::-1][:3])
    assert reranker.rank("a dog", []) == [] and reranker.predict([]).shape == (0,)


def test_equal_candidates_keep_their_order(reranker, clips):
    ranked = reranker.rank(clips[0], [TEXTS[0]] * 4)
    assert [r.position for r in ranked] == [0, 1, 2, 3]


BAGS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["a2t", "t2a"]), st.integers(0, len(TEXTS) - 1), st.integers(0, len(LENGTHS) - 1)),
        min_size=1,
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@given(
    bags=BAGS,
    batch_tokens=st.sampled_from([1, 300, 900, 4000]),
    cache_bytes=st.sampled_from([0, 5000, 1 << 20]),
    kept_kv_bytes=st.sampled_from([0, 400_000]),
    max_pending_tokens=st.sampled_from([1, 700, 1 << 20]),
    cancelled=st.sets(st.integers(0, 3)),
    priorities=st.lists(st.integers(-1, 1), min_size=4, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_nothing_in_flight_changes_a_score(
    checkpoint, naive, clips, bags, batch_tokens, cache_bytes, kept_kv_bytes, max_pending_tokens, cancelled, priorities
):
    """Any grouping, order, cache size, cancellation and concurrency."""
    ours = make(
        checkpoint,
        batch_tokens=batch_tokens,
        cache_bytes=cache_bytes,
        kept_kv_bytes=kept_kv_bytes,
        max_pending_tokens=max_pending_tokens,
    )
    with ThreadPoolExecutor(4) as threads:
        submitted = [
            threads.submit(ours.submit, [pair(clips, *p) for p in bag], priority)
            for bag, priority in zip(bags, priorities)
        ]
        for i, (bag, future) in enumerate(zip(bags, submitted)):
            answer = future.result(timeout=WAIT_S)
            if i in cancelled and answer.cancel():
                continue
            scores = [ranked.score for ranked in answer.result(timeout=WAIT_S)]
            assert close(scores, [naive.score(direction, TEXTS[text], clips[clip]) for direction, text, clip in bag])
    assert ours.num_cached_bytes <= cache_bytes
    idle(ours)


def test_many_threads_and_mixed_priorities(checkpoint, naive, clips):
    ours = make(checkpoint, batch_tokens=700)
    places = [(d, t, c) for d in ("a2t", "t2a") for t in range(len(TEXTS)) for c in range(len(clips))]
    wrong = []

    def ask(seed):
        mine = random.Random(seed).sample(places, 8)
        got = ours.submit([pair(clips, *p) for p in mine], priority=seed % 3).result(timeout=WAIT_S)
        if not close([r.score for r in got], [naive.score(d, TEXTS[t], clips[c]) for d, t, c in mine]):
            wrong.append(seed)

    for d, t, c in places:
        naive.score(d, TEXTS[t], clips[c])
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    idle(ours)


def test_asyncio_tasks_and_their_cancellation(reranker, naive, clips):
    async def ask(text):
        future = await asyncio.to_thread(reranker.submit, [(text, clip) for clip in clips])
        return [ranked.score for ranked in await asyncio.wrap_future(future)]

    async def all_of_them():
        tasks = [asyncio.create_task(ask(text)) for text in TEXTS]
        dropped = asyncio.create_task(ask("never mind"))
        await asyncio.sleep(0)
        dropped.cancel()
        got = await asyncio.gather(*tasks)
        with pytest.raises(asyncio.CancelledError):
            await dropped
        return got

    for text, scores in zip(TEXTS, asyncio.run(all_of_them())):
        assert close(scores, [naive.score("t2a", text, clip) for clip in clips])


class Gate:
    """Holds the model's thread until it is opened; counts the steps."""

    def __init__(self, reranker, monkeypatch):
        self.reached, self.go, self.num_steps = threading.Event(), threading.Event(), 0
        inner = reranker._scorer.score

        def score(groups):
            self.reached.set()
            self.num_steps += 1
            assert self.go.wait(WAIT_S)
            return inner(groups)

        monkeypatch.setattr(reranker._scorer, "score", score)


def test_cancelled_pairs_never_run_and_make_room(checkpoint, naive, clips, monkeypatch):
    ours = make(checkpoint, batch_tokens=1)
    gate = Gate(ours, monkeypatch)
    first = ours.submit([(clips[0], TEXTS[0])])
    assert gate.reached.wait(WAIT_S)
    second = ours.submit([(clips[1], text) for text in TEXTS])
    assert ours._runner.num_pending_tokens > 0 and second.cancel()
    gate.go.set()
    assert close(first.result(timeout=WAIT_S)[0].score, naive.score("a2t", TEXTS[0], clips[0]))
    with pytest.raises(CancelledError):
        second.result()
    idle(ours)
    assert gate.num_steps == 1 and ours.work.num_pairs == 1


def test_prefixes_are_freed_with_their_last_pair(checkpoint, clips, monkeypatch):
    ours = make(checkpoint, batch_tokens=1)
    inner, held = ours._scorer.score, []

    def score(groups):
        held.append(ours._scorer.num_held)
        return inner(groups)

    monkeypatch.setattr(ours._scorer, "score", score)
    ours.predict([(clip, text) for clip in clips for text in TEXTS[:2]])
    assert held == [0, 1] * len(clips) and ours.work.num_prefixes == len(clips)
    idle(ours)


def test_urgent_pairs_go_first(checkpoint, clips, monkeypatch):
    ours = make(checkpoint, batch_tokens=1)
    gate = Gate(ours, monkeypatch)
    done = []
    calls = [(0, "blocks"), (0, "slow"), (5, "urgent"), (1, "soon")]
    futures = []
    for priority, name in calls:
        futures.append(ours.submit([(clips[0], name)], priority))
        futures[-1].add_done_callback(lambda _, name=name: done.append(name))
        assert gate.reached.wait(WAIT_S)
    gate.go.set()
    wait(futures, timeout=WAIT_S)
    idle(ours)
    assert done == ["blocks", "urgent", "soon", "slow"]


def test_callers_wait_when_too_much_is_pending(checkpoint, clips, monkeypatch):
    ours = make(checkpoint, batch_tokens=1, max_pending_tokens=900)
    gate = Gate(ours, monkeypatch)
    most = 0
    submitted = threading.Event()

    def ask():
        ours.submit([(clip, text) for clip in clips for text in TEXTS]).result(timeout=WAIT_S)
        submitted.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert gate.reached.wait(WAIT_S)
    # The caller is inside submit, held back: 25 pairs of 300 tokens would be far more than may wait.
    most = ours._runner.num_pending_tokens
    assert 0 < most <= 900 and not submitted.is_set()
    gate.go.set()
    thread.join(timeout=WAIT_S)
    assert submitted.is_set() and ours.work.num_pairs == 25
    idle(ours)


def test_what_cannot_be_scored_is_an_entry_and_the_others_are_right(reranker, naive, clips, tmp_path):
    broken, empty = tmp_path / "broken.wav", tmp_path / "short.wav"
    broken.write_bytes(b"RIFF\0\0\0\0WAVEnothing")
    soundfile.write(empty, tiny.wave(100), 16000)
    candidates = [clips[0], broken, clips[1], empty, tmp_path / "absent.wav", clips[2]]
    ranked = reranker.rank(TEXTS[0], candidates, top_k=2)
    want = {i: naive.score("t2a", TEXTS[0], candidates[i]) for i in (0, 2, 5)}
    assert [r.position for r in ranked] == [*sorted(want, key=lambda i: -want[i])[:2], 1, 3, 4]
    assert all(r.score is None and str(candidates[r.position]) in r.error for r in ranked[2:])
    assert close([r.score for r in ranked[:2]], sorted(want.values())[::-1][:2])
    texts = reranker.rank(clips[0], [TEXTS[0], " ", TEXTS[1]], direction="a2t")
    assert texts[2].position == 1 and "text is empty" in texts[2].error
    assert close(
        [r.score for r in sorted(texts[:2], key=lambda r: r.position)],
        [naive.score("a2t", text, clips[0]) for text in TEXTS[:2]],
    )
    with pytest.raises(InputError, match=r"pairs\[1\]: .*broken.wav.* \(and 2 more of 6 failed\)"):
        reranker.predict([(TEXTS[0], candidate) for candidate in candidates])


def test_a_pair_the_model_fails_on_leaves_its_group_right(checkpoint, naive, clips, monkeypatch):
    ours = make(checkpoint)
    inner = ours._scorer.score

    def score(groups):
        if any(len(p.prompt.suffix) == poisoned for _, pairs in groups for p in pairs):
            raise RuntimeError("out of memory")
        return inner(groups)

    lengths = [len(ours._prompts.split("a2t", text, 25).suffix) for text in TEXTS]
    poisoned = lengths[3]
    assert lengths.count(poisoned) == 1
    monkeypatch.setattr(ours._scorer, "score", score)
    got = ours.submit([(clips[0], text) for text in TEXTS]).result(timeout=WAIT_S)
    assert got[3].score is None and "out of memory" in got[3].error
    rest = [0, 1, 2, 4]
    assert close([got[i].score for i in rest], [naive.score("a2t", TEXTS[i], clips[0]) for i in rest])
    idle(ours)


def test_a_score_that_is_no_number_is_an_error(checkpoint, clips):
    ours = make(checkpoint)
    ours._scorer._yes_no_2W = ours._scorer._yes_no_2W * float("nan")
    (ranked,) = ours.rank(clips[0], ["rain"])
    assert ranked.score is None and "nan" in ranked.error


def test_a_fault_of_the_program_reaches_whoever_waits(checkpoint, clips, monkeypatch):
    ours = make(checkpoint)
    inner = ours._scorer.score
    monkeypatch.setattr(ours._scorer, "score", lambda groups: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ours.predict([(clips[0], "rain")])
    monkeypatch.setattr(ours._scorer, "score", inner)
    assert len(ours.predict([(clips[0], "rain")])) == 1
    idle(ours)


def test_what_is_a_sound_and_what_a_text(reranker, clips):
    assert len(reranker.predict([(str(clips[0]), "rain"), ("rain", str(clips[0])), ("x.wav is loud", clips[0])])) == 3
    with pytest.raises(InputError, match=r"pairs\[1\]: query and candidate look like two texts"):
        reranker.predict([("rain", clips[0]), ("rain", "clip")])
    with pytest.raises(InputError, match="look like two sounds"):
        reranker.rank(clips[0], [clips[1]])
    with pytest.raises(InputError, match="direction must be one of"):
        reranker.rank("rain", clips, direction="both")
    (ranked,) = reranker.rank("rain", ["clip"], direction="t2a")
    assert "clip: cannot be read" in ranked.error


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda r, c: r.rank("rain", str(c[0])), "candidates must be a list"),
        (lambda r, c: r.rank("rain", c, top_k=0), "top_k must be at least 1"),
        (lambda r, c: r.predict(["rain"]), r"pairs\[0\] must be \(query, candidate\)"),
    ],
)
def test_calls_that_mean_nothing_are_refused(reranker, clips, call, said):
    with pytest.raises(InputError, match=said):
        call(reranker, clips)


def test_a_query_that_cannot_be_heard_is_told_once(reranker):
    with pytest.raises(AudioError, match="absent.wav"):
        reranker.rank(Path("absent.wav"), TEXTS)


def test_checkpoints_that_cannot_answer_are_refused(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    headless = tmp_path / "headless"
    headless.mkdir()
    for file in checkpoint.iterdir():
        if file.suffix == ".json":
            (headless / file.name).write_bytes(file.read_bytes())
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["language_model.lm_head.weight"]
    save_file(tensors, headless / "model.safetensors")
    with pytest.raises(ModelError, match="has no lm_head.weight"):
        make(headless)
    recipe = get_rerank_recipe("aurola-rerank")
    with pytest.raises(ModelError, match="begin with the same token"):
        make(checkpoint, recipe=replace(recipe, no="Yes"))
    with pytest.raises(ModelError, match="is a qwen2_audio"):
        make(checkpoint, recipe=replace(recipe, backbones=("other",)))
    with pytest.raises(InputError, match="max_pending_tokens must be at least 1"):
        make(checkpoint, max_pending_tokens=0)
