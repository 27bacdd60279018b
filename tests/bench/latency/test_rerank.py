"""What the reranking benchmark counts is what was computed: exact tokens, and how many fewer than a forward a pair."""

import gc
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, trainers

import harken
from harken.bench.latency.memory import PeakMemory, resident_bytes
from harken.bench.latency.rerank import harken_way, make_task, measure, ways
from harken.bench.latency.rerank_rivals import Qwen2AudioPairs
from harken.bench.latency.workload import WORDS
from harken.engine.recipes.rerank import get_rerank_recipe
from harken.engine.rerank.prompts import PairPrompts

from ... import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny checkpoint whose tokenizer makes about a token of a word, as those of large models do."""
    folder = tiny.qwen2_audio(tmp_path_factory.mktemp("bench") / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    recipe = get_rerank_recipe("aurola-rerank")
    known = [recipe.a2t_template, recipe.t2a_template, recipe.instruction, " ".join(WORDS)] * 5
    alphabet = sorted({token for token in tokenizer.get_vocab() if len(token) == 1})
    trainer = trainers.BpeTrainer(
        vocab_size=tiny.VOCAB, initial_alphabet=alphabet, special_tokens=tiny.SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(known, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    audio_id = tokenizer.token_to_id("<|AUDIO|>")
    config["audio_token_index"] = config["audio_token_id"] = audio_id
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def prompts_of(model, task):
    """Lengths of each pair's shared and own part."""
    prompts = PairPrompts(model.tokenizer, model.recipe, model.model.audio_token_id)
    tokens = [model.model.tower.num_tokens(len(clip)) for clip in task.clips]
    splits = [prompts.split(task.direction, text, count) for count in tokens for text in task.texts]
    return [len(split.prefix) for split in splits], [len(split.suffix) for split in splits]


@pytest.mark.parametrize("batch_tokens", [1500, 100_000])
def test_audio_to_text_computes_nine_times_fewer_tokens_than_a_forward_a_pair(checkpoint, batch_tokens):
    model = harken.load_reranker(checkpoint, device="cpu", batch_tokens=batch_tokens)
    task = make_task("a2t", 50, 10.0)
    _, tokens = harken_way(model, task)
    shared, own = prompts_of(model, task)
    assert tokens.decoder == shared[0] + sum(own)
    assert tokens.audio == 250 and model.work.num_prefixes == 1
    # Prompts are as long as those of the real tokenizers, or the figure would flatter.
    assert 300 <= shared[0] <= 330 and 13 <= sum(own) / 50 <= 29
    naive = sum(shared) + sum(own)
    assert naive >= 9 * tokens.decoder
    assert 50 * 250 >= 9 * tokens.audio


def test_text_to_audio_computes_the_text_once_and_heard_sounds_not_at_all(checkpoint):
    model = harken.load_reranker(checkpoint, device="cpu")
    task = make_task("t2a", 8, 2.0)
    shared, own = prompts_of(model, task)
    for heard in (8 * 50, 0):
        _, tokens = harken_way(model, task)
        assert tokens.decoder == shared[0] + sum(own) and tokens.audio == heard


def test_the_rivals_agree_and_are_counted(checkpoint):
    model, heard = harken.load_reranker(checkpoint, device="cpu", cache_bytes=0), harken.load_reranker(checkpoint)
    rival = Qwen2AudioPairs(model, checkpoint)
    task = make_task("t2a", 3, 1.0)
    rows = measure(ways(model, heard, rival, 2), task, 1, 1e-5, torch.device("cpu"))
    by_way = {row["way"]: row for row in rows}
    shared, own = prompts_of(model, task)
    assert by_way["hf pairwise"]["decoder"] == sum(shared) + sum(own)
    assert by_way["hf batched"]["audio"] == 3 * 750 and by_way["harken"]["audio"] == 3 * 25
    assert by_way["harken, heard"]["audio"] == 0
    assert all(row["ms"] > 0 for row in rows)


def test_a_way_that_disagrees_ends_the_run(checkpoint):
    model = harken.load_reranker(checkpoint, device="cpu")
    task = make_task("a2t", 2, 1.0)
    wrong = lambda task: (np.zeros(2, np.float32) + 2, None)
    with pytest.raises(SystemExit, match="FAILED: wrong disagrees"):
        measure({"harken": lambda t: harken_way(model, t), "wrong": wrong}, task, 1, 1e-4, torch.device("cpu"))


def test_peak_memory_sees_what_was_taken_and_given_back():
    if not resident_bytes():
        pytest.skip("no /proc on this machine")
    gc.collect()  # what earlier tests left is not given back in between
    with PeakMemory(torch.device("cpu")) as memory:
        taken = np.ones(200 << 20, np.uint8)
        for _ in range(20):
            taken += 1
        del taken
    assert 150 << 20 < memory.peak_bytes < 600 << 20
