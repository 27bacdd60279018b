"""Robust-ATR's projections: trained and served alike, chunks pooled by the text or the learned query, nothing leaks."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import harken
from harken.engine.recipes import get_recipe
from harken.training.config import RobustSettings
from harken.training.loop import Loop
from harken.training.models.robust_atr import RobustATR, masked_mean, pad
from harken.training.stages import make_task

from ... import tiny_clap, tolerances
from ..runs import losses, settings, write_sounds

SMALL = RobustSettings(num_heads=4, mlp_width=32, dim=24, dropout=0.0)


def states(*lengths: int, width: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, width, generator=generator) for n in lengths]


@pytest.fixture
def model() -> RobustATR:
    torch.manual_seed(0)
    return RobustATR(16, 16, SMALL).eval()


def test_pads_change_nothing(model):
    texts = states(3, 7)
    together = model.text(texts)[0]
    alone = torch.cat([model.text([one])[0] for one in texts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_text_asks_for_the_chunks_unless_the_learned_query_stands_in(model):
    chunks, counts, texts = states(4, 4, 4), [2, 1], states(3, 5)
    vectors, _ = model.chunks(chunks)
    text = model.text(texts)[0]
    (by_text, _), _ = model.pairs(chunks, counts, texts, torch.tensor([False, False]))
    (learned, _), _ = model.pairs(chunks, counts, texts, torch.tensor([True, True]))
    share = torch.softmax(vectors[:2] @ text[0] / 24**0.5, 0)
    wanted = torch.nn.functional.normalize(share @ vectors[:2], dim=0)
    torch.testing.assert_close(by_text[0], wanted)
    torch.testing.assert_close(learned, torch.nn.functional.normalize(model.audio(chunks, counts), dim=-1))
    assert (learned[0] - by_text[0]).abs().max() > 1e-4
    # One chunk is its own pool, whoever asks.
    torch.testing.assert_close(learned[1], by_text[1])


def test_contrast_sees_nothing_of_the_pair_and_the_attended_vectors_do(model):
    chunks, texts, others = states(4, 4), states(3, 5), states(3, 5)
    others[0] = others[0] + 1
    learned = torch.tensor([True, True])
    plain, attended = model.pairs(chunks, [1, 1], texts, learned)
    plain_2, attended_2 = model.pairs(chunks, [1, 1], others, learned)
    torch.testing.assert_close(plain[0], plain_2[0])
    assert (attended[0][0] - attended_2[0][0]).abs().max() > 1e-4
    torch.testing.assert_close(attended[0][1], attended_2[0][1])


def test_means_leave_pads_out():
    x, is_pad = pad(states(2, 3))
    assert is_pad.tolist() == [[False, False, True], [False, False, False]]
    torch.testing.assert_close(masked_mean(x, is_pad)[0], x[0, :2].mean(0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust")
    clap = tiny_clap.clap(folder / "clap")
    sounds = write_sounds(folder / "sounds")
    made = settings(
        clap,
        sounds,
        folder / "run",
        stage="robust-atr",
        recipe="robust-atr",
        num_whitening=0,
        robust=dict(num_heads=4, mlp_width=64, dim=24, query_probability=0.5),
        # Short chunks, so that the tiny sounds have several.
        recipe_overrides=dict(max_audio_s=0.4),
        optim=dict(num_steps=4),
    )
    loop = Loop(make_task(made), made)
    loop.go()
    return folder, loop


def test_the_trained_checkpoint_is_what_the_engine_serves(trained):
    folder, loop = trained
    task = loop.task
    task.model.load_state_dict(load_file(folder / "run/adapter/model.safetensors"), strict=False)
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps({**get_recipe("robust-atr").to_dict(), "max_audio_s": 0.4}))
    served = harken.load(folder / "run/adapter", recipe=recipe, dtype="float32", device="cpu")
    chunks, counts = task.states.chunks(task.val)
    assert max(counts) > 1
    with torch.no_grad():
        tensors = [torch.from_numpy(c.astype(np.float32)) for c in chunks]
        audio = torch.nn.functional.normalize(task.model.eval().audio(tensors, counts), dim=-1).numpy()
    # The states were kept in float16.
    np.testing.assert_allclose(
        served.encode_audio([row.audio for row in task.val]), audio, atol=tolerances.FLOAT16_STATES
    )


def test_the_run_learns_and_all_parts_move(trained):
    folder, loop = trained
    fresh = make_task(loop.settings)
    moved = {
        name.split(".")[0]
        for (name, ours), theirs in zip(loop.task.model.named_parameters(), fresh.model.parameters())
        if not torch.equal(ours, theirs)
    }
    assert moved == {"audio_projection", "text_projection", "chunk_query", "audio_attends", "text_attends"}
    assert sorted(losses(folder / "run")) == [1, 2, 3, 4]
