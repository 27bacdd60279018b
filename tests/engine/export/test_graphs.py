"""Graphs for exporters: in padded form they give what the packed models give, for every backbone and any batch."""

import json

import numpy as np
import pytest
import torch

import harken
from harken.engine.export.graph_inputs import prefill_inputs, tower_inputs
from harken.engine.export.graphs import graphs_of
from harken.engine.models.packed import Segments
from harken.engine.models.transfer import Samples
from harken.errors import InputError

from ... import tiny, tiny_clap, tiny_midasheng, tolerances

# Less than a window, past one by a frame, two windows, the shortest that is heard, past ten seconds by a patch.
LENGTHS = (9000, 40001, 33000, 700, 171000, 161600)
TEXTS = ["a dog barks", "rain", "somebody is speaking over music; and a car passes"]


@pytest.fixture(scope="module")
def embedders(omni, mini, tmp_path_factory):
    place = tmp_path_factory.mktemp("graphs")
    bare = [
        ("bidirectional", tiny.omni(place / "nv", "nv"), "omni-embed-nemotron"),
        ("dasheng", tiny_midasheng.midasheng(place / "mid", layer_scale=True), "alm2vec"),
    ]
    made = {name: harken.load(folder, recipe=recipe, device="cpu") for name, folder, recipe in bare}
    own = {**harken.load(mini.folder, recipe="harken-mini", device="cpu").recipe.to_dict(), "pooling": "mean-content"}
    (place / "own.json").write_text(json.dumps({**own, "normalize_before_head": True}))
    for name, model, recipe in (
        ("omni", omni, omni.recipe),
        ("mini", mini, mini.recipe),
        ("mean-content", mini, place / "own.json"),
    ):
        made[name] = harken.load(model.folder, recipe=recipe, adapter=model.adapter, device="cpu")
    return made


@pytest.mark.parametrize("name", ["omni", "mini", "mean-content", "bidirectional", "dasheng"])
def test_padded_graphs_equal_the_packed_model(name, embedders):
    model = embedders[name]
    tower, prefill = graphs_of(model)
    clips = [tiny.wave(n, i) for i, n in enumerate(LENGTHS)]
    contents = "contents" in prefill.inputs
    with torch.no_grad():
        inputs, counts = tower_inputs(model.model, clips)
        assert list(inputs) == list(tower.inputs)
        rows = tower.module(*inputs.values())
        want, want_counts = model.model.audio_rows(model.model.features(clips))
        assert counts == want_counts and (rows - want).abs().max() < tolerances.HIDDEN_FP32
        prompts = [model.audio_prompt(len(clip)) for clip in clips]
        batch = prefill_inputs(prompts, rows, model.model.width, contents=contents)
        heard = prefill.module(*batch.values())[0].numpy()
        batch = prefill_inputs([model.text_prompt(t) for t in TEXTS], None, model.model.width, contents=contents)
        read = prefill.module(*batch.values())[-1].numpy()
    assert np.abs(heard - model.encode_audio([(clip, 16000) for clip in clips])).max() < tolerances.VECTOR_FP32
    assert np.abs(read - model.encode_text(TEXTS)).max() < tolerances.VECTOR_FP32


@pytest.mark.parametrize("name", ["mini", "dasheng"])
def test_what_lies_in_the_padding_is_never_heard(name, embedders):
    model = embedders[name]
    tower, prefill = graphs_of(model)
    with torch.no_grad():
        inputs, _ = tower_inputs(model.model, [tiny.wave(n, i) for i, n in enumerate(LENGTHS[:3])])
        rows = tower.module(*inputs.values())
        mel = inputs["mel"].clone()
        counts = inputs.get("num_rows", 4 * inputs["num_keys"] + 4)
        for segment, count in zip(mel, counts):
            segment[:, count:] = 1e3
        assert torch.equal(tower.module(*{**inputs, "mel": mel}.values()), rows)
        batch = prefill_inputs([model.text_prompt(t) for t in TEXTS], None, model.model.width, contents=False)
        want = prefill.module(*batch.values())[-1]
        for ids, length in zip(batch["token_ids"], batch["lengths"]):
            ids[length:] = 17
        assert torch.equal(prefill.module(*batch.values())[-1], want)


@pytest.mark.parametrize(("make", "recipe"), [(tiny_clap.clap, "laion-clap"), (tiny_clap.robust_atr, "robust-atr")])
def test_models_of_two_encoders(make, recipe, tmp_path):
    model = harken.load(make(tmp_path), recipe=recipe, device="cpu")
    graphs = {graph.name: graph.module for graph in graphs_of(model)}
    clips = [tiny_clap.wave(n, i) for i, n in enumerate((90000, 400001, 480000))]
    with torch.no_grad():
        features = model.model.tower.features(*Samples.of(clips, model.model.device)).features_FM
        chunks = graphs["audio_tower"](features.unflatten(0, (3, -1)))
        prompts = [model.text_prompt(text) for text in TEXTS]
        ids = torch.full((3, max(map(len, prompts))), 5)
        for row, prompt in zip(ids, prompts):
            row[: len(prompt)] = torch.tensor(prompt.token_ids)
        read = graphs["text_tower"](ids, torch.tensor([len(prompt) for prompt in prompts])).numpy()
        assert ("chunk_pool" in graphs) == (recipe == "robust-atr")
        if "chunk_pool" in graphs:
            padded = torch.full((2, 2, chunks.shape[1]), float("nan"))
            padded[0], padded[1, 0] = chunks[:2], chunks[2]
            got = graphs["chunk_pool"](padded, torch.tensor([2, 1])).numpy()
            want = model.encoder.pool_pieces(chunks, Segments.of([2, 1])).numpy()
            assert np.abs(got - want).max() < tolerances.VECTOR_FP32
    heard = torch.nn.functional.normalize(chunks, dim=-1).numpy()
    assert np.abs(heard - model.encode_audio([(clip, 48000) for clip in clips])).max() < tolerances.VECTOR_FP32
    assert np.abs(read - model.encode_text(TEXTS)).max() < tolerances.VECTOR_FP32


def test_rows_without_a_place_are_refused(embedders):
    model = embedders["mini"]
    with pytest.raises(InputError, match="places for 12 audio rows, got 11"):
        prefill_inputs([model.audio_prompt(8000)], torch.zeros(11, 48), 48, contents=False)
