"""Each system's stages run from settings on a tiny checkpoint of its kind, and what they save is served."""

import json

import pytest
import torch
from safetensors.torch import load_file

import harken
from harken.errors import InputError
from harken.training.config import settings_from
from harken.training.loop import Loop
from harken.training.models.prompts import Input
from harken.training.stages import make_task
from harken.training.stages.qa import QUERY_INSTRUCTION
from harken.training.stages.rerank import read_negatives, rerank_loss

from ... import tiny, tiny_midasheng, tolerances
from ..runs import losses, settings, write_sounds


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def omni(tmp_path_factory):
    return tiny.omni(tmp_path_factory.mktemp("omni"), "thinker")


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return tiny.qwen2_audio(tmp_path_factory.mktemp("mini"), text="llama", num_mels=80)


def run(made) -> Loop:
    loop = Loop(make_task(made), made)
    loop.go()
    return loop


def test_oea_trains_tower_decoder_and_heads_with_less_memory(omni, sounds, tmp_path):
    made = settings(
        omni,
        sounds,
        tmp_path,
        recipe="oea-qwen3b",
        batch=dict(max_rows=None),
        lora=dict(
            parts=["decoder-attention", "tower-attention"],
            whole_projector=False,
            dropout=0.05,
            head_dim=16,
            head_dropout=0.1,
        ),
        run=dict(autocast=True, gradient_checkpointing=True, grad_cache=True, validate_every=4),
    )
    task = run(made).task
    assert any("audio_tower" in name for name in task.lora_parameters) and len(losses(tmp_path)) == 4
    served = harken.load(omni, recipe="oea-qwen3b", adapter=tmp_path / "adapter", dtype="float32", device="cpu")
    assert served.encode_text(["a dog"]).shape == (1, 16)


def test_aurola_goes_from_nli_to_sounds_with_hybrid_nce(omni, sounds, tmp_path):
    nli = tmp_path / "nli.csv"
    lines = [f"a dog barks {i},an animal {i} makes noise,it is silent {i}" for i in range(10)]
    nli.write_text("sent0,sent1,hard_neg\n" + "\n".join(lines) + "\n")
    common = dict(recipe="aurola-3b", num_whitening=0)
    lora = dict(rank=4, parts=["decoder"], whole_projector=False, dropout=0.05)
    source = [dict(dataset="nli", path=str(nli))]
    text = settings(
        omni,
        sounds,
        tmp_path / "text",
        stage="text",
        data=dict(train=source, val=source),
        lora=lora,
        loss=dict(name="one-direction"),
        **common,
    )
    first = run(text)
    drawn = first.task.source.draw(0, slice(0, 4))
    assert all(one.text.startswith("a dog barks") for one in drawn.left)
    assert all(one.text.startswith("an animal") for one in drawn.right)
    clusters = tmp_path / "clusters.json"
    clusters.write_text(json.dumps({"dog": {"cluster_index": 3}, "0": {"cluster_index": None}}))
    second = settings(
        omni,
        sounds,
        tmp_path / "sounds",
        init=str(tmp_path / "text/adapter"),
        lora=lora,
        batch=dict(kinds={"tags": 1.0}),
        data=dict(tag_clusters=str(clusters)),
        loss=dict(name="hybrid-coded"),
        features=str(sounds / "omni"),
        **common,
    )
    loop = run(second)
    # Tags alone, of which only "dog" is in a cluster: all are positives of each other.
    assert loop.task.source.draw(0, slice(0, 4)).positive_BB.all()
    assert len(losses(tmp_path / "sounds")) == 4


def test_alm2vec_asks_questions_with_its_instruction(sounds, tmp_path):
    model = tiny_midasheng.midasheng(tmp_path / "model")
    questions = tmp_path / "questions.json"
    rows = [
        dict(speech_path=f"{i}.wav", question=f"What barks {i}?", answer=f"dog {i}", text="x", duration=1.0)
        for i in range(10)
    ]
    questions.write_text(json.dumps(rows))
    source = [dict(dataset="librisqa", path=str(questions), audio_dir=str(sounds))]
    made = settings(
        model,
        sounds,
        tmp_path / "run",
        stage="qa",
        recipe="alm2vec",
        num_whitening=0,
        data=dict(train=source, val=source),
        batch=dict(max_rows=None),
        lora=dict(parts=["decoder-qkv", "projector"], whole_projector=False, dropout=0.05),
        loss=dict(name="masked-bidirectional", learn_tau=True),
    )
    loop = run(made)
    drawn = loop.task.source.draw(0, slice(0, 4))
    assert drawn.left[0].instruction == QUERY_INSTRUCTION and drawn.left[0].text.startswith("What barks")
    assert drawn.left[0].features is not None and drawn.right[0].text.startswith("dog")
    assert float(loop.task.temperature().detach()) != pytest.approx(0.05)
    served = harken.load(model, recipe="alm2vec", adapter=tmp_path / "run/adapter", dtype="float32", device="cpu")
    loop.task.model.load(tmp_path / "run/adapter")
    ours = loop.task.encode([Input(text="dog 3")]).numpy()
    assert abs(served.encode_text(["dog 3"]) - ours).max() < tolerances.VECTOR_FP32


def test_the_reranker_starts_from_the_retriever_and_learns_from_mined_negatives(mini, sounds, tmp_path, capsys):
    retriever = run(settings(mini, sounds, tmp_path / "retriever", features=str(sounds / "mini")))
    negatives = tmp_path / "negatives.jsonl"
    lines = [
        dict(
            id=str(i),
            texts=[f"a dog barks {j}" for j in range(10) if j != i],
            sounds=[str(j) for j in range(10) if j != i],
        )
        for i in range(9)
    ]
    negatives.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = settings(
        mini,
        sounds,
        tmp_path / "run",
        stage="rerank",
        recipe="aurola-rerank",
        init=str(tmp_path / "retriever/adapter"),
        data=dict(negatives=str(negatives)),
        loss=dict(num_negatives=2, listwise=1.0),
        features=str(sounds / "mini"),
    )
    task = make_task(made)
    task.start()
    retriever.task.model.load(tmp_path / "retriever/adapter")
    for name, ours in task.model.trainable().items():
        assert ours.equal(retriever.task.model.state_dict()[name])
    # The row without negatives is not trained on.
    assert {row.id for row in task.train} == {str(i) for i in range(9)}
    assert "train: 1 of 10 rows have not 2 negatives of each kind" in capsys.readouterr().err
    pairs = task._pairs(task.train[0], 0, 0)
    assert [p.features is pairs[0].features for p in pairs] == [True, True, True, False, False]
    assert [p.text == pairs[0].text for p in pairs] == [True, False, False, True, True]
    run(made)
    assert len(losses(tmp_path / "run")) == 4
    served = harken.load_reranker(
        mini, adapter=tmp_path / "run/adapter", recipe="aurola-rerank", dtype="float32", device="cpu"
    )
    assert 0 < served.predict([(sounds / "1.wav", "a dog barks 1")], direction="a2t")[0] < 1


def test_the_rerankers_loss_weighs_yes_and_no_alike():
    import torch

    logits = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    log = logits.log_softmax(-1)
    pairs = -0.5 * (log[:, 0, 0].mean() + log[:, 1:, 1].mean())
    torch.testing.assert_close(rerank_loss(logits, 2, 0.0), pairs)
    odds = logits[..., 0] - logits[..., 1]
    texts, rivals = odds[:, :3].log_softmax(1)[:, 0], odds[:, [0, 3, 4]].log_softmax(1)[:, 0]
    torch.testing.assert_close(rerank_loss(logits, 2, 0.5), pairs - 0.5 * (texts.mean() + rivals.mean()))


def test_wrong_settings_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match="stage is 'sing'"):
        settings_from(dict(stage="sing", model="m", out="o"))
    with pytest.raises(InputError, match=r"loss.listwise is -1.0, wanted a weight"):
        settings_from(dict(stage="rerank", model="m", out="o", loss=dict(listwise=-1.0)))
    with pytest.raises(InputError, match=r"optim: unknown keys \['speed'\]"):
        settings_from(dict(stage="text", model="m", out="o", optim=dict(speed=1)))
    with pytest.raises(InputError, match="num_steps is '9', wanted int"):
        settings_from(dict(stage="text", model="m", out="o", optim=dict(num_steps="9")))
    with pytest.raises(InputError, match="out missing; wanted at least stage, model, out"):
        settings_from(dict(stage="text", model="m"))
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "texts": [], "sounds": []}\n{"id": 2}\n')
    with pytest.raises(InputError, match="bad.jsonl:2"):
        read_negatives(tmp_path / "bad.jsonl")


def test_heads_alone_learn_from_states_that_are_kept(mini, sounds, tmp_path):
    first = run(settings(mini, sounds, tmp_path / "both", features=str(sounds / "mini")))
    before = load_file(tmp_path / "both/adapter/adapter_model.safetensors")
    made = settings(
        mini,
        sounds,
        tmp_path / "heads",
        features=str(sounds / "mini"),
        stage="heads",
        init=str(tmp_path / "both/adapter"),
        batch=dict(batch_size=10, max_rows=None, mask_probability=0.0),
        optim=dict(lr=1e-2, num_steps=100, warmup_steps=1),
        run=dict(validate_every=100),
    )
    task = run(made).task
    found = losses(tmp_path / "heads")
    assert found[100] < 0.5 * found[1] and not task.lora_parameters
    after = load_file(tmp_path / "heads/adapter/adapter_model.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    # The whole model with the saved heads gives the vectors that the heads gave on the kept states.
    whole = first.task
    whole.model.load(tmp_path / "heads/adapter")
    sides = [(task.source.validation().left, whole.source.validation().left)]
    sides += [(task.source.validation().right, whole.source.validation().right)]
    for of_states, of_prompts in sides:
        assert torch.allclose(task.encode(of_states), whole.encode(of_prompts), atol=tolerances.TRAINED_VECTOR["mini"])


def test_heads_alone_want_an_adapter(mini, sounds, tmp_path):
    with pytest.raises(InputError, match="wants init"):
        make_task(settings(mini, sounds, tmp_path, features=str(sounds / "mini"), stage="heads"))
